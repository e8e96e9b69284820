//! What is read of JSON from clients, and what is not.

use faces::kit::json::{BadJson, Expected, Fault, parse_object};
use serde_json::json;

#[test]
fn one_object_is_read_and_nothing_else() {
    for (text, expected) in [
        ("", BadJson::Syntax),
        ("{", BadJson::Syntax),
        ("{}{}", BadJson::Syntax),
        ("{\"a\":\"\\ud800\"}", BadJson::Syntax),
        ("{\"a\":1e999}", BadJson::Syntax),
        ("[1]", BadJson::NotAnObject),
        ("null", BadJson::NotAnObject),
        ("\"{}\"", BadJson::NotAnObject),
    ] {
        assert_eq!(parse_object(text).map(|_| ()), Err(expected), "{text}");
    }
    assert_eq!(parse_object(" {\"b\":1,\"a\":{}} ").unwrap().keys().collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn a_hundred_levels_are_deep_enough() {
    let lists = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(parse_object(&lists(100)).is_ok() && parse_object(&objects(100)).is_ok());
    for depth in [102, 128, 100_000] {
        assert_eq!(parse_object(&lists(depth)).map(|_| ()), Err(BadJson::Syntax), "{depth} lists");
        assert_eq!(parse_object(&objects(depth)).map(|_| ()), Err(BadJson::Syntax), "{depth} objects");
    }
}

#[test]
fn a_name_that_comes_twice_matters_only_to_who_reads_it() {
    let object = parse_object(r#"{"title":"a","other":1,"title":"b","other":2,"n":{"x":1,"x":2}}"#).unwrap();
    assert_eq!(object.opt_string("title").unwrap_err().fault, Fault::Repeated);
    assert_eq!(object.opt_string("absent"), Ok(None));
    assert!(object.repeats_inside());
}

#[test]
fn accessors_name_what_is_wrong() {
    let object = parse_object(
        r#"{"s":"x","i":-3,"b":true,"n":null,"nul":"a\u0000b","f":1.5,"list":["a","b"],"mixed":["a",1],"mode":"plan","bad":"x"}"#,
    )
    .unwrap();
    assert_eq!(object.string("s"), Ok("x"));
    assert_eq!(object.opt_string("n"), Ok(None));
    assert_eq!(object.opt_integer("i"), Ok(Some(-3)));
    assert_eq!(object.bool("b"), Ok(true));
    assert_eq!(object.opt_string_list("list"), Ok(Some(vec!["a", "b"])));
    assert_eq!(object.opt_one_of("mode", &["ask", "plan"]), Ok(Some("plan")));
    assert!(object.has("s") && !object.has("n") && !object.has("absent"));

    let told = |error: faces::kit::json::FieldError| error.to_string();
    assert_eq!(object.string("i").map_err(told), Err("i: expected a string".to_owned()));
    assert_eq!(object.opt_integer("f").map_err(told), Err("f: expected an integer".to_owned()));
    assert_eq!(object.opt_one_of("bad", &["ask", "plan"]).map_err(told), Err("bad: expected one of ask, plan".to_owned()));
    assert_eq!(object.opt_string_list("mixed").map_err(told), Err("mixed: expected a list of strings".to_owned()));
    assert_eq!(object.opt_string("nul").unwrap_err().fault, Fault::Nul);

    let missing = object.string("content").unwrap_err();
    assert_eq!((missing.fault, missing.expected), (Fault::Missing, Expected::String));
    assert_eq!(missing.value["s"], "x");
    let null = object.string("n").unwrap_err();
    assert_eq!((null.fault, *null.value), (Fault::Wrong, json!(null)));
}

#[test]
fn characters_are_counted_not_bytes() {
    let object = parse_object(r#"{"four":"äöüß","none":""}"#).unwrap();
    assert_eq!(object.opt_text("four", 1, 4), Ok(Some("äöüß")));
    assert!(object.opt_text("four", 1, 3).is_err());
    assert!(object.opt_text("four", 5, 9).is_err());
    assert!(object.opt_text("none", 1, 4).is_err());
}
