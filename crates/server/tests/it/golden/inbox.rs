//! What came over one socket or stream, compared with what a story expects next.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::story::Expected;
use super::types::{Dialect, Mark, text_field};
use super::values::Bindings;

/// How many of the last items a failure shows.
const SHOWN: usize = 6;
/// Of these more may come than a story tells.
const MAY_COME_BETWEEN: [&str; 2] = ["chat_updated", "message_updated"];
/// How long the one that is expected may take.
const FITS_WITHIN: Duration = Duration::from_secs(10);

/// What a socket or stream has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    Item(Item),
    /// A socket was closed with this code, for this reason.
    Closed(u16, String),
    /// A stream was ended in good order.
    Ended,
    /// Neither: the connection is simply gone.
    CutOff,
    /// Something came that may come in no story.
    Foul(String),
}

/// A frame or an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub kind: String,
    pub body: Value,
    pub id: Option<String>,
}

/// Why a line does not hold.
#[derive(Debug)]
pub struct Fault(pub String);

#[derive(Debug)]
pub struct Inbox {
    source: UnboundedReceiver<Got>,
    /// Taken too early, and put back.
    ahead: VecDeque<Got>,
    /// The rest of a piece of text whose beginning was expected.
    rest: Option<Item>,
    heard: VecDeque<String>,
    patience: Duration,
    dialect: Dialect,
}

impl Inbox {
    pub fn new(source: UnboundedReceiver<Got>, patience: Duration) -> Self {
        let dialect = Dialect::default();
        Self { source, ahead: VecDeque::new(), rest: None, heard: VecDeque::new(), patience, dialect }
    }

    /// The same, for a connection that speaks so.
    pub fn speaking(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// The last things that came, for whoever has to find out what went wrong.
    pub fn heard(&self) -> String {
        self.heard.iter().map(|item| format!("\n    {item}")).collect()
    }

    /// The next frame or event is this one.
    pub async fn expect(&mut self, expected: &Expected, bindings: &mut Bindings) -> Result<(), Fault> {
        if let Some(field) = text_field(&expected.kind)
            && let Some(text) = expected.body[field].as_str()
        {
            let item = self.text(&expected.kind, field, bindings.literal(text).as_deref()).await?;
            return compare(expected, &item, bindings);
        }
        if MAY_COME_BETWEEN.contains(&expected.kind.as_str()) {
            return self.first_that_fits(expected, bindings).await;
        }
        let item = self.item(&[&expected.kind]).await?;
        compare(expected, &item, bindings)
    }

    /// The first frame of its kind that is as expected; others of the kind may come before.
    async fn first_that_fits(&mut self, expected: &Expected, bindings: &mut Bindings) -> Result<(), Fault> {
        let deadline = Instant::now() + FITS_WITHIN.min(self.patience.max(Duration::from_millis(1)));
        loop {
            let item = match timeout_at(deadline, self.item(&[&expected.kind])).await {
                Ok(item) => item?,
                Err(_) => return Err(Fault(format!("no {} came that is as expected", expected.kind))),
            };
            if item.kind != expected.kind {
                return Err(Fault(format!("expected {}, got {item}", expected.kind)));
            }
            if compare(expected, &item, bindings).is_ok() {
                return Ok(());
            }
        }
    }

    /// The next frames or events are these, in any order.
    pub async fn expect_any_order(&mut self, expected: &[Expected], bindings: &mut Bindings) -> Result<(), Fault> {
        let kinds: Vec<&str> = expected.iter().map(|one| one.kind.as_str()).collect();
        let mut items = Vec::new();
        while items.len() < expected.len() {
            items.push(self.item(&kinds).await?);
        }
        match pair(expected, &items, bindings) {
            Some(bound) => {
                *bindings = bound;
                Ok(())
            }
            None => Err(Fault(format!("these fit in no order: {}", items.iter().map(Item::to_string).collect::<String>()))),
        }
    }

    /// The server closes the socket with this code, and for this reason if the story names one.
    pub async fn expect_close(&mut self, code: u16, reason: Option<&str>) -> Result<(), Fault> {
        match self.next_of_note(&[]).await? {
            Got::Closed(got, why) if got == code && reason.is_none_or(|reason| reason == why) => Ok(()),
            other => Err(Fault(format!("expected a close with {code}, got {other}"))),
        }
    }

    /// The server ends the stream.
    pub async fn expect_end(&mut self) -> Result<(), Fault> {
        match self.next_of_note(&[]).await? {
            Got::Ended => Ok(()),
            other => Err(Fault(format!("expected the end of the stream, got {other}"))),
        }
    }

    /// Nothing of a seed's own type comes until then, and the connection stays.
    pub async fn quiet_until(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.no_text_left()?;
        loop {
            let got = match self.ahead.pop_front() {
                Some(got) => got,
                None => match timeout_at(deadline, self.source.recv()).await {
                    Ok(Some(got)) => got,
                    // The story has seen the end already, or there was none.
                    Ok(None) | Err(_) => return Ok(()),
                },
            };
            match got {
                Got::Item(item) if self.dialect.mark(&item.kind) == Mark::Added => {}
                other => return Err(Fault(format!("the story is over, and still there came {other}"))),
            }
        }
    }

    /// No frame of this kind comes within so long; what else comes is kept.
    pub async fn none_of(&mut self, kind: &str, within: Duration) -> Result<(), Fault> {
        let deadline = Instant::now() + within;
        while let Ok(Some(got)) = timeout_at(deadline, self.source.recv()).await {
            self.ahead.push_back(got);
        }
        match self.ahead.iter().find(|got| matches!(got, Got::Item(item) if item.kind == kind)) {
            Some(got) => Err(Fault(format!("{got}"))),
            None => Ok(()),
        }
    }

    /// No text has come beyond what was expected.
    pub fn no_text_left(&self) -> Result<(), Fault> {
        match &self.rest {
            Some(rest) => Err(Fault(format!("more text than expected: {rest}"))),
            None => Ok(()),
        }
    }

    /// The next item that counts, which must be a frame or event.
    async fn item(&mut self, kinds: &[&str]) -> Result<Item, Fault> {
        match self.next_of_note(kinds).await? {
            Got::Item(item) => Ok(item),
            other => Err(Fault(format!("expected {}, got {other}", kinds.join(" or ")))),
        }
    }

    /// The next thing that is not passed over.
    async fn next_of_note(&mut self, kinds: &[&str]) -> Result<Got, Fault> {
        if let Some(rest) = self.rest.take() {
            return Ok(Got::Item(rest));
        }
        loop {
            let got = self.next().await?;
            let Got::Item(item) = &got else { return Ok(got) };
            match self.dialect.mark(&item.kind) {
                Mark::Seed => return Ok(got),
                Mark::Added if kinds.contains(&item.kind.as_str()) => return Ok(got),
                Mark::Added => {}
                Mark::Unknown => return Err(Fault(format!("no contract has the type of {item}"))),
            }
        }
    }

    async fn next(&mut self) -> Result<Got, Fault> {
        if let Some(got) = self.ahead.pop_front() {
            return Ok(got);
        }
        let got = match timeout(self.patience, self.source.recv()).await {
            Ok(got) => got.unwrap_or(Got::CutOff),
            Err(_) => return Err(Fault(format!("nothing came within {:?}", self.patience))),
        };
        if self.heard.len() == SHOWN {
            self.heard.pop_front();
        }
        self.heard.push_back(got.to_string());
        Ok(got)
    }

    /// Joins pieces until `wanted` is whole, or as long as there are pieces; the other fields are those of the last one.
    async fn text(&mut self, kind: &str, field: &str, wanted: Option<&str>) -> Result<Item, Fault> {
        let mut last = self.item(&[kind]).await?;
        let mut text = piece(&last, kind, field)?;
        loop {
            if let Some(wanted) = wanted {
                if text.len() >= wanted.len() {
                    break;
                }
                if !wanted.starts_with(&text) {
                    return Err(Fault(format!("expected the text {wanted:?}, got {text:?}")));
                }
            }
            match self.next_of_note(&[kind]).await? {
                Got::Item(item) if item.kind == kind && item.body["chatId"] == last.body["chatId"] => {
                    text += &piece(&item, kind, field)?;
                    last = item;
                }
                other => {
                    self.ahead.push_front(other);
                    break;
                }
            }
        }
        if let Some(wanted) = wanted {
            let Some(rest) = text.strip_prefix(wanted) else {
                return Err(Fault(format!("expected the text {wanted:?}, got {text:?}")));
            };
            self.rest = (!rest.is_empty()).then(|| last.with(field, rest));
            text.truncate(wanted.len());
        }
        Ok(last.with(field, &text))
    }
}

fn piece(item: &Item, kind: &str, field: &str) -> Result<String, Fault> {
    let text = item.body[field].as_str().filter(|_| item.kind == kind);
    text.map(str::to_owned).ok_or_else(|| Fault(format!("expected a piece of text in {kind}, got {item}")))
}

fn compare(expected: &Expected, item: &Item, bindings: &mut Bindings) -> Result<(), Fault> {
    if item.kind != expected.kind {
        return Err(Fault(format!("expected {}, got {item}", expected.kind)));
    }
    let wrong = |mismatch| Fault(format!("{mismatch}\n  in {item}"));
    let mut bound = bindings.clone();
    bound.compare(&expected.body, &item.body).map_err(wrong)?;
    if let Some(id) = &expected.id {
        let got = item.id.as_ref().ok_or_else(|| Fault(format!("there is no id: in {item}")))?;
        bound.compare(id, &Value::from(got.as_str())).map_err(wrong)?;
    }
    *bindings = bound;
    Ok(())
}

/// Finds a partner for every item, whatever the order.
fn pair(expected: &[Expected], items: &[Item], bindings: &Bindings) -> Option<Bindings> {
    let Some((item, others)) = items.split_first() else { return Some(bindings.clone()) };
    (0..expected.len()).find_map(|index| {
        let mut bound = bindings.clone();
        compare(&expected[index], item, &mut bound).ok()?;
        let mut remaining = expected.to_vec();
        remaining.remove(index);
        pair(&remaining, others, &bound)
    })
}

impl Item {
    fn with(&self, field: &str, text: &str) -> Self {
        let mut item = self.clone();
        item.body[field] = Value::from(text);
        item
    }
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
        write!(f, "{}{id} {}", self.kind, self.body)
    }
}

impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Item(item) => item.fmt(f),
            Self::Closed(code, reason) => write!(f, "a close with {code} {reason:?}"),
            Self::Ended => f.write_str("the end of the stream"),
            Self::CutOff => f.write_str("a connection that is gone"),
            Self::Foul(foul) => write!(f, "a foul: {foul}"),
        }
    }
}
