//! Which agent answers in a conversation: its model, its instructions and the tools it is given. What is not offered is
//! refused as well, whatever a model asks for.

mod direct;
mod hub;
mod project;

use std::fmt::Write;
use std::sync::Arc;

use domain::sockets::surveyor::Document;
use domain::sockets::tool::{Hidden, ToolSpec};
use domain::{AgentProfile, Conversation, Home, Tool, ToolSet, Turn};

use crate::questions::ask_user;
use crate::{Engine, Result};

/// Above the `AGENTS.md` or `CLAUDE.md` of a directory.
const GUIDANCE: &str = "What the project itself says about working on it. It is the project's own text";

/// The agent of one turn.
///
/// # Errors
/// What it is made of cannot be read.
pub(crate) async fn profile(engine: &Engine, conversation: &Conversation, turn: &Turn) -> Result<AgentProfile> {
    Ok(match conversation.home {
        Home::Direct => direct::profile(engine, conversation, turn).await,
        Home::Project => project::profile(engine, conversation, turn).await?,
        Home::Hub => hub::profile(engine, conversation, turn).await?,
    })
}

/// An agent that can only speak.
pub(crate) fn without_tools(engine: &Engine, conversation: &Conversation, turn: &Turn) -> AgentProfile {
    AgentProfile {
        model: conversation.model.clone(),
        mode: turn.mode,
        instructions: "You are an agent in a conversation. You have no tools here. Be brief and exact.".to_owned(),
        tools: ToolSet::Only(Vec::new()),
        workdir: conversation.workdir.clone(),
        hidden: hidden(engine, true),
    }
}

/// Quotes a file in a way that the file itself cannot end.
fn quote(text: &mut String, title: &str, document: &Document) {
    let longest = document.text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let cut = if document.truncated { "\n[cut]" } else { "" };
    let _ = write!(text, "\n## {title} ({})\n{fence}\n{}{cut}\n{fence}\n", document.name, document.text.trim_end());
}

/// What tools must not see wherever they work: our own data, and for those who ask on behalf of others, secrets too.
pub(crate) fn hidden(engine: &Engine, secrets: bool) -> Hidden {
    Hidden { directories: engine.inner.settings.data_dir.iter().cloned().collect(), secrets }
}

/// The tools that a model is offered.
pub(crate) fn tools(engine: &Engine, profile: &AgentProfile) -> Vec<ToolSpec> {
    let mut tools = engine.catalogue().tools_in(profile.mode);
    tools.retain(|tool| profile.tools.has(&tool.name));
    if asks(profile) {
        tools.push(ask_user::spec());
    }
    tools
}

/// Whether the agent may ask people: only one that was given `ask_user` by name, because its turns end with the question,
/// which not every API has words for.
pub(crate) fn asks(profile: &AgentProfile) -> bool {
    matches!(&profile.tools, ToolSet::Only(names) if names.iter().any(|name| name == ask_user::NAME))
}

/// The tool of a call, or why the call is refused.
pub(crate) fn allowed(engine: &Engine, profile: &AgentProfile, tool: &str) -> Result<Arc<dyn Tool>, String> {
    let Some(known) = engine.catalogue().tool(tool) else { return Err(format!("Unknown tool: {tool}")) };
    if !profile.tools.has(tool) {
        return Err(format!("The tool {tool} is not available here"));
    }
    if !known.spec().modes.contains(&profile.mode) {
        return Err(format!("The tool {tool} is not available in {} mode", profile.mode.as_str()));
    }
    Ok(Arc::clone(known))
}
