use domain::sockets::tool::{ToolContext, ToolReply};
use domain::{Principal, ProjectName};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::find;
use crate::{Engine, Error, Result, agents};

/// A text file of the project, read with the tool and under the rules of its agent. `Err` in the answer is the tool's word.
pub(crate) async fn file(engine: &Engine, who: Principal, name: &ProjectName, path: String) -> Result<Result<ToolReply, String>> {
    let project = find(engine, who, name).await?;
    let reader = engine.catalogue().tool("read_file").ok_or(Error::NotFound)?;
    let context = ToolContext { workdir: project.path, hidden: agents::hidden(engine, true), cancel: CancellationToken::new() };
    let input = Map::from_iter([("path".to_owned(), Value::from(path))]);
    Ok(reader.run(context, input).await.map_err(|error| error.0))
}
