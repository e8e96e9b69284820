//! The floors of the house: who may use whom. A wall that nobody checks does not stand for long.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every crate, and all that it may use. What stands in no list may be used by nobody.
const TABLE: [(&str, &[&str]); 9] = [
    ("colloquy-domain", &[]),
    ("colloquy-store", &["colloquy-domain"]),
    ("colloquy-models", &["colloquy-domain"]),
    ("colloquy-tools", &["colloquy-domain"]),
    ("colloquy-channels", &["colloquy-domain"]),
    ("colloquy-engine", &["colloquy-domain", "colloquy-store"]),
    ("colloquy-faces", &["colloquy-domain", "colloquy-engine"]),
    (
        "colloquy",
        &[
            "colloquy-channels",
            "colloquy-domain",
            "colloquy-engine",
            "colloquy-faces",
            "colloquy-models",
            "colloquy-store",
            "colloquy-tools",
        ],
    ),
    // It measures from outside, over the network.
    ("colloquy-bench", &[]),
];

#[test]
fn crates_use_only_the_floors_below_them() {
    assert_eq!(violations(&workspace()), Vec::<String>::new());
}

#[test]
fn a_wrong_edge_is_caught() {
    let table = TABLE.map(|(name, may_use)| (name.to_owned(), may_use.iter().map(|name| (*name).to_owned()).collect()));
    let sound = Graph::from(table);
    assert_eq!(violations(&sound), Vec::<String>::new());

    let mut wrong = sound.clone();
    wrong.get_mut("colloquy-faces").expect("it is in the table").insert("colloquy-store".to_owned());
    assert_eq!(violations(&wrong), ["colloquy-faces uses colloquy-store"]);

    let mut unknown = sound.clone();
    unknown.insert("colloquy-attic".to_owned(), BTreeSet::new());
    assert_eq!(violations(&unknown), ["colloquy-attic is on no floor"]);

    let mut missing = sound;
    missing.remove("colloquy-tools");
    assert_eq!(violations(&missing), ["colloquy-tools is gone"]);
}

fn violations(graph: &Graph) -> Vec<String> {
    let table: BTreeMap<_, _> = TABLE.into_iter().collect();
    let gone = table.keys().filter(|name| !graph.contains_key(**name)).map(|name| format!("{name} is gone"));
    let mut found: Vec<_> = gone.collect();
    for (name, uses) in graph {
        match table.get(name.as_str()) {
            None => found.push(format!("{name} is on no floor")),
            Some(may_use) => {
                let wrong = uses.iter().filter(|used| !may_use.contains(&used.as_str()));
                found.extend(wrong.map(|used| format!("{name} uses {used}")));
            }
        }
    }
    found
}

/// The crates of this workspace and what they use of each other. Tests may use more than the code they test.
fn workspace() -> Graph {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let uses = |package: &Value| -> BTreeSet<String> {
        let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
        let ours = dependencies.filter(|it| it["path"].is_string() && it["kind"] != "dev");
        ours.map(|it| text(&it["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), uses(package))).collect()
}
