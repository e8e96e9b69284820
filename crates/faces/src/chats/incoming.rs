//! From a chats frame to a call of the engine, and back to what the sender is told.

use axum::extract::ws::Utf8Bytes;
use domain::{ConversationId, Mode, Principal, TurnId};
use engine::{Engine, Error, Follow, From as Begin, Opened, Post, RequestKey, Row, TitleRule, WhenBusy};

use super::outgoing;
use super::wire::Frame;
use crate::kit::idempotency::MAX_KEY_CHARACTERS;
use crate::kit::json::{Expected, FieldError, Object};
use crate::socket::{Echo, Refused};

/// Rows of a `history`, by the contract.
const HISTORY_ROWS: u32 = 1000;

/// Text of a `history`. It is one frame that its client takes in one piece, so a chat of very long rows shows fewer of
/// them: `truncated` says so, and REST has the rest.
const HISTORY_BYTES: usize = 8 * 1024 * 1024;

/// A position that no log has.
const OUTDATED: &str = "outdated";

/// What a person may ask to happen to a message that comes while the agent answers.
pub(super) const WHEN_BUSY: [&str; 4] = ["queue", "steer", "interrupt", "reject"];

pub(super) const MODES: [&str; 3] = ["ask", "plan", "build"];

/// A frame of this API that is well formed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) chat: ConversationId,
    pub(crate) echo: Echo,
    pub(crate) wish: Wish,
}

#[derive(Debug)]
pub(crate) enum Wish {
    Subscribe(Subscribe),
    Chat(Chat),
    Cancel { turn_id: Option<String> },
    Unsubscribe,
}

#[derive(Debug)]
pub(crate) struct Subscribe {
    since: Option<String>,
    limit: u32,
    with_reasoning: bool,
}

/// The fields of a message, over the socket as over REST.
#[derive(Debug)]
pub(crate) struct Chat {
    content: String,
    pub(super) client_id: Option<String>,
    mode: Option<Mode>,
    when_busy: WhenBusy,
}

/// What came of a frame.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// For the sender, before anything else of this chat.
    pub(crate) frames: Vec<Utf8Bytes>,
    /// The socket follows the chat from here on.
    pub(crate) followed: Option<Followed>,
}

#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) follow: Follow,
    pub(crate) with_reasoning: bool,
}

impl Request {
    /// # Errors
    /// A field is missing or wrong, or no chat can have this id.
    pub(crate) fn read(object: &Object, wish: impl FnOnce(&Object) -> Result<Wish, Refused>) -> Result<Self, Refused> {
        let chat_id = object.string("chatId")?;
        let wish = wish(object)?;
        // What is no id at all is answered like an id that nothing has.
        let chat = ConversationId::parse(chat_id).ok_or(Error::NotFound)?;
        Ok(Self { chat, echo: Echo::of(object), wish })
    }

    /// Of a socket whose chat has to be shown anew: it is told so, and given a snapshot, as if it had asked for a position
    /// that is no good any more.
    pub(crate) fn anew(chat: ConversationId, with_reasoning: bool) -> Self {
        let subscribe = Subscribe { since: Some(OUTDATED.to_owned()), limit: HISTORY_ROWS, with_reasoning };
        Self { chat, echo: Echo::chat(chat.hex()), wish: Wish::Subscribe(subscribe) }
    }

    /// Whether the socket follows the chat once this is done.
    pub(crate) const fn follows(&self) -> bool {
        match &self.wish {
            Wish::Subscribe(_) | Wish::Chat(_) => true,
            Wish::Cancel { .. } | Wish::Unsubscribe => false,
        }
    }

    /// Whether it is about more than what the socket follows.
    pub(crate) const fn changes_the_chat(&self) -> bool {
        match &self.wish {
            Wish::Chat(_) | Wish::Cancel { .. } => true,
            Wish::Subscribe(_) | Wish::Unsubscribe => false,
        }
    }

    /// Does what the frame asks for. `is_followed` says that the socket already follows the chat.
    ///
    /// # Errors
    /// Nothing was done.
    pub(crate) async fn done(self, engine: Engine, who: Principal, is_followed: bool) -> Result<Done, Refused> {
        match self.wish {
            Wish::Subscribe(subscribe) => self::subscribe(&engine, who, self.chat, subscribe).await,
            Wish::Chat(chat) => self::chat(&engine, who, self.chat, chat, is_followed).await,
            Wish::Cancel { turn_id } => cancel(&engine, who, self.chat, turn_id).await,
            Wish::Unsubscribe => {
                if !is_followed {
                    engine.conversation(who, self.chat).await?;
                }
                Ok(Done { frames: vec![outgoing::aside(self.chat, Frame::Unsubscribed)], followed: None })
            }
        }
    }
}

pub(crate) fn read_subscribe(object: &Object) -> Result<Wish, Refused> {
    let limit = match object.opt_integer("limit")? {
        None => HISTORY_ROWS,
        Some(limit) if limit < 1 => return Err(Refused::invalid_field("limit")),
        Some(limit) => u32::try_from(limit).unwrap_or(HISTORY_ROWS).min(HISTORY_ROWS),
    };
    let include = object.opt_string_list("include")?.unwrap_or_default();
    Ok(Wish::Subscribe(Subscribe {
        since: object.opt_string("since")?.map(str::to_owned),
        limit,
        with_reasoning: include.contains(&"reasoning"),
    }))
}

pub(crate) fn read_chat(object: &Object) -> Result<Wish, Refused> {
    let chat = Chat::read(object)?;
    if chat.content.trim().is_empty() {
        return Err(Error::EmptyMessage.into());
    }
    Ok(Wish::Chat(chat))
}

pub(crate) fn read_cancel(object: &Object) -> Result<Wish, Refused> {
    Ok(Wish::Cancel { turn_id: object.opt_string("turnId")?.map(str::to_owned) })
}

pub(crate) const fn read_unsubscribe(_: &Object) -> Result<Wish, Refused> {
    Ok(Wish::Unsubscribe)
}

impl Chat {
    /// An absent `content` counts as an empty one, which the engine refuses with a word of its own.
    pub(super) fn read(object: &Object) -> Result<Self, FieldError> {
        let content = object.opt_string("content")?.unwrap_or_default().to_owned();
        let client_id = match object.opt_text("clientId", 1, MAX_KEY_CHARACTERS)? {
            Some(client_id) => Some(client_id),
            None => object.opt_text("client_id", 1, MAX_KEY_CHARACTERS)?,
        };
        let when_busy = match object.opt_one_of("whenBusy", &WHEN_BUSY)? {
            None | Some("queue") => WhenBusy::Queue,
            Some("steer") => WhenBusy::Steer,
            Some("interrupt") => WhenBusy::Interrupt,
            Some("reject") => WhenBusy::Reject,
            Some(_) => return Err(object.wrong("whenBusy", Expected::OneOf(&WHEN_BUSY))),
        };
        Ok(Self { content, client_id: client_id.map(str::to_owned), mode: read_mode(object)?, when_busy })
    }

    pub(super) fn into_post(self, conversation: ConversationId) -> Post {
        Post {
            conversation,
            text: self.content,
            client_id: self.client_id,
            mode: self.mode,
            workdir: None,
            when_busy: self.when_busy,
            title_rule: TitleRule::FirstFiftyCharacters,
        }
    }
}

pub(super) fn read_mode(object: &Object) -> Result<Option<Mode>, FieldError> {
    Ok(object.opt_one_of("mode", &MODES)?.and_then(Mode::parse))
}

async fn subscribe(engine: &Engine, who: Principal, chat: ConversationId, subscribe: Subscribe) -> Result<Done, Refused> {
    let (opened, mut frames) = match &subscribe.since {
        None => (engine.follow(who, chat, Begin::Now).await?, Vec::new()),
        Some(since) => match resume(engine, who, chat, since).await {
            Ok(opened) => {
                let frames = vec![outgoing::aside(chat, Frame::Subscribed { resumed: true })];
                return Ok(Done { frames, followed: Some(followed(opened, &subscribe)) });
            }
            Err(error @ Error::BadCursor) => {
                let refused = Refused::from(error).frame(&Echo::chat(chat.hex()));
                (engine.follow(who, chat, Begin::Now).await?, vec![refused])
            }
            Err(error) => return Err(error.into()),
        },
    };
    let (rows, truncated) = engine.rows_at(&opened, subscribe.limit).await?;
    let (rows, cut) = newest_that_fit(rows);
    frames.push(outgoing::history(&opened, rows, truncated || cut));
    Ok(Done { frames, followed: Some(followed(opened, &subscribe)) })
}

async fn resume(engine: &Engine, who: Principal, chat: ConversationId, since: &str) -> engine::Result<Opened> {
    engine.follow(who, chat, Begin::Cursor(Engine::parse_cursor(since)?)).await
}

fn followed(opened: Opened, subscribe: &Subscribe) -> Followed {
    Followed { follow: opened.follow, with_reasoning: subscribe.with_reasoning }
}

/// The newest rows whose text fits a frame, at least one, and whether some were left out.
fn newest_that_fit(mut rows: Vec<Row>) -> (Vec<Row>, bool) {
    let mut bytes = 0_usize;
    let fitting = rows.iter().rev().take_while(|row| {
        bytes = bytes.saturating_add(row.text.len());
        bytes <= HISTORY_BYTES
    });
    let surplus = rows.len() - fitting.count().max(1).min(rows.len());
    rows.drain(..surplus);
    (rows, surplus > 0)
}

/// The socket follows the chat before the message is stored, so that the message itself comes through the stream.
async fn chat(engine: &Engine, who: Principal, chat: ConversationId, message: Chat, is_followed: bool) -> Result<Done, Refused> {
    let followed = if is_followed {
        None
    } else {
        let follow = engine.follow(who, chat, Begin::Now).await?.follow;
        Some(Followed { follow, with_reasoning: false })
    };
    let client_id = message.client_id.clone();
    let posted = engine.post_message(who, message.into_post(chat)).await?;
    let accepted = client_id.map(|client_id| {
        let (message_id, duplicate) = (posted.message.id.hex(), posted.duplicate);
        outgoing::aside(chat, Frame::Accepted { client_id: &client_id, message_id, duplicate })
    });
    Ok(Done { frames: accepted.into_iter().collect(), followed })
}

async fn cancel(engine: &Engine, who: Principal, chat: ConversationId, turn_id: Option<String>) -> Result<Done, Refused> {
    if cancelled(engine, who, chat, turn_id.as_deref(), None).await? {
        return Ok(Done::default());
    }
    Err(Refused::because("nothing_to_cancel", "Nothing to cancel"))
}

/// Ends the running turn, or the one of that id. What is no id at all names no turn.
pub(super) async fn cancelled(
    engine: &Engine,
    who: Principal,
    chat: ConversationId,
    turn_id: Option<&str>,
    key: Option<RequestKey>,
) -> engine::Result<bool> {
    match turn_id.map(TurnId::parse) {
        None => engine.cancel(who, chat, None, key).await,
        Some(Some(turn)) => engine.cancel(who, chat, Some(turn), key).await,
        Some(None) => engine.conversation(who, chat).await.map(|_| false),
    }
}
