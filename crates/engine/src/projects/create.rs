use domain::{Author, EventKind, Home, Mode, PartBody, Principal, ProjectName};
use store::events::Fence;
use store::{conversations, projects};

use super::{NewProjectConversation, ProjectConversation, find};
use crate::conversations::{ImportedMessage, NewConversation, import_turn, prepare};
use crate::events::Append;
use crate::request_key::{RequestKey, once};
use crate::{Engine, Error, Result};

/// Makes a conversation, and its greeting with it: who learns of the conversation finds the greeting in it.
pub(crate) async fn create(
    engine: &Engine,
    who: Principal,
    name: &ProjectName,
    new: NewProjectConversation,
    key: Option<RequestKey>,
) -> Result<ProjectConversation> {
    let project = find(engine, who, name).await?;
    let NewProjectConversation { title, greeting } = new;
    let conversation = NewConversation { title, model: None, mode: Mode::Ask, workdir: Some(project.path) };
    let conversation = prepare(&engine.of(Home::Project), who, conversation).await?;
    let append = Append::to(engine, conversation.id, Fence::Open);
    let (at, name) = (append.at(), name.clone());
    engine
        .inner
        .store
        .write(move |tx| {
            let number = once(tx, who, key, at, |tx| {
                conversations::insert(tx, &conversation)?;
                append.event(tx, None, |_| EventKind::ConversationCreated)?;
                let number = projects::number_conversation(tx, conversation.id, &name)?;
                if let Some(text) = greeting {
                    let parts = vec![PartBody::Text { text }];
                    let said = ImportedMessage { author: Author::Agent, parts, outcome: None };
                    let reply = import_turn(tx, &append, &conversation, said, Vec::new())?;
                    projects::number_row(tx, conversation.id, reply)?;
                    projects::show_row(tx, reply)?;
                }
                Ok(number)
            })?;
            Ok::<_, Error>(projects::by_number(tx, &name, number)?.ok_or(Error::NotFound)?.into())
        })
        .await
}
