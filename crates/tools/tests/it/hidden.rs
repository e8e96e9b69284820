use std::path::PathBuf;

use domain::sockets::tool::{Hidden, ToolContext};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Place, SECRET};

async fn run(place: &Place, hidden: &Hidden, tool: &str, input: Value) -> Result<String, String> {
    let tools = tools::read_tools();
    let tool = tools.iter().find(|candidate| candidate.spec().name == tool).unwrap();
    let context = ToolContext { workdir: place.root(), hidden: hidden.clone(), cancel: CancellationToken::new() };
    tool.run(context, input.as_object().unwrap().clone()).await.map(|reply| reply.output).map_err(|error| error.0)
}

#[tokio::test]
async fn secrets_and_our_own_data_are_neither_read_nor_found() {
    let place = Place::with(&[(".env", SECRET), ("keys/server.pem", SECRET), ("own/token", SECRET), ("README.md", "open words")]);
    place.link("innocent.txt", ".env");
    place.link("sub", "own");
    let own: Vec<PathBuf> = vec![place.root().join("own")];
    let hidden = Hidden { directories: own.into(), secrets: true };
    for path in [".env", "./.env", "keys/server.pem", "own/token", "innocent.txt", "sub/token", "keys/../.env"] {
        let refused = run(&place, &hidden, "read_file", json!({"path": path})).await.unwrap_err();
        assert!(!refused.contains(SECRET), "{path}: {refused}");
        assert!(run(&place, &Hidden::default(), "read_file", json!({"path": path})).await.is_ok(), "{path} is there");
    }
    for input in
        [json!({"pattern": SECRET}), json!({"pattern": SECRET, "glob": "**/.env"}), json!({"pattern": SECRET, "glob": "own/**"})]
    {
        assert_eq!(run(&place, &hidden, "grep", input.clone()).await.unwrap(), "No matches.", "{input}");
    }
    assert_eq!(run(&place, &hidden, "grep", json!({"pattern": "open"})).await.unwrap(), "README.md:1:open words");
    let listed = run(&place, &hidden, "glob", json!({"pattern": "**/*"})).await.unwrap();
    assert!(listed.contains("README.md") && !listed.contains("token") && !listed.contains("pem"), "{listed}");
    // Without a rule about secrets, only our own data is hidden.
    let only_ours = Hidden { secrets: false, ..hidden };
    assert!(run(&place, &only_ours, "read_file", json!({"path": ".env"})).await.is_ok());
    assert!(run(&place, &only_ours, "read_file", json!({"path": "own/token"})).await.is_err());
}
