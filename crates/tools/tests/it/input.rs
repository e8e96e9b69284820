use domain::Mode;
use domain::sockets::tool::Effect;
use serde_json::json;

use crate::support::Place;

#[test]
fn the_tools_are_pure_and_offered_in_every_mode() {
    let tools = tools::read_tools();
    let names: Vec<_> = tools.iter().map(|tool| tool.spec().name.as_str()).collect();
    assert_eq!(names, ["read_file", "glob", "grep"]);
    for tool in &tools {
        assert_eq!(tool.spec().effect, Effect::Pure);
        assert_eq!(tool.spec().modes, Mode::ALL);
        assert!(tool.spec().description.len() > 100);
    }
}

#[test]
fn the_schemas_are_those_of_the_contract() {
    let schemas: Vec<_> = tools::read_tools().iter().map(|tool| tool.spec().input_schema.clone()).collect();
    let expected = [
        json!({
            "type": "object",
            "properties": {"path": {
                "type": "string",
                "description": "Path of the file, relative to the working directory or absolute inside it."
            }},
            "required": ["path"],
            "additionalProperties": false
        }),
        json!({
            "type": "object",
            "properties": {
                "pattern": {
                    "type": "string",
                    "description": "Glob pattern, relative to the working directory, such as `src/**/*.rs`."
                },
                "include_directories": {
                    "type": "boolean",
                    "description": "Whether matching directories are listed too, with a `/` at the end. Default: false."
                }
            },
            "required": ["pattern"],
            "additionalProperties": false
        }),
        json!({
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "description": "Regular expression to search for within a line."},
                "glob": {
                    "type": "string",
                    "description":
                        "Glob pattern for the paths of the files to search, such as `*.rs` or `src/**/*.ts`. Default: all files."
                },
                "context_lines": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 10,
                    "description": "How many lines to show before and after each match, from 0 to 10. Default: 0."
                }
            },
            "required": ["pattern"],
            "additionalProperties": false
        }),
    ];
    assert_eq!(serde_json::to_value(schemas).unwrap(), serde_json::to_value(expected).unwrap());
}

#[tokio::test]
async fn input_that_does_not_fit_names_the_field() {
    let place = Place::new();
    for (tool, input, reason) in [
        ("read_file", json!({}), "Invalid input: missing field `path`"),
        ("read_file", json!({"path": "a", "lines": 3}), "Invalid input: unknown field `lines`, expected `path`"),
        ("glob", json!({"pattern": 1}), "Invalid input: `pattern`: invalid type: integer `1`, expected a string"),
        ("glob", json!({"pattern": "[a"}), "Invalid input: `pattern`: unclosed character class; missing ']'"),
        ("grep", json!({"pattern": "x", "context_lines": 11}), "Invalid input: `context_lines` must be from 0 to 10"),
        ("grep", json!({"pattern": ""}), "Invalid input: `pattern` must have 1 to 1000 bytes"),
        ("grep", json!({"pattern": "(a"}), "Invalid input: `pattern`: unclosed group"),
        (
            "grep",
            json!({"pattern": "a", "glob": "{b"}),
            "Invalid input: `glob`: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
        ),
    ] {
        assert_eq!(place.error(tool, input).await, reason);
    }
    let reason = place.error("grep", json!({"pattern": "x", "context_lines": -1})).await;
    assert!(reason.starts_with("Invalid input: `context_lines`: invalid value"), "{reason}");
}

#[tokio::test]
async fn null_stands_for_what_is_left_out() {
    let place = Place::with(&[("a.txt", "alpha")]);
    let input = json!({"pattern": "alpha", "glob": null, "context_lines": null});
    assert_eq!(place.output("grep", input).await, "a.txt:1:alpha");
    assert_eq!(place.output("glob", json!({"pattern": "*", "include_directories": null})).await, "a.txt");
}
