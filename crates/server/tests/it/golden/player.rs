//! Plays a story line by line, and says where it does not hold.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::doubles::{Kind, encoded};
use super::inbox::{Fault, Got, Inbox, Item};
use super::referee::Referee;
use super::referee_assistant::Watch;
use super::signing;
use super::stage::Stage;
use super::story::{Line, Step, Story};
use super::types::Dialect;
use super::values::Bindings;
use crate::harness_http::{Answer, Body, Client, Head, PATIENCE, Request};
use crate::harness_sse::EventStream;
use crate::harness_ws::{Said, Socket};

/// After the last line nothing of a seed's own type may come for so long.
const QUIET: Duration = Duration::from_millis(300);
/// How long `eventually` may take.
const EVENTUALLY: Duration = Duration::from_secs(10);
const EVENTUALLY_STEP: Duration = Duration::from_millis(20);
/// How long a call to a double may be under way.
const CALLED_WITHIN: Duration = Duration::from_secs(25);
const FORM: &str = "application/x-www-form-urlencoded";
/// Of every Twilio channel in the stories.
const TWILIO_TOKEN: &str = "twilio_test_auth_token";

/// A line that does not hold.
#[derive(Debug)]
pub struct Failure {
    pub story: String,
    /// 0 for what goes wrong behind the last line.
    pub line: usize,
    pub report: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { story, line, report } = self;
        match line {
            0 => write!(f, "{story}.jsonl, behind its last line:\n  {report}"),
            _ => write!(f, "{story}.jsonl, line {line}:\n  {report}"),
        }
    }
}

/// Plays the whole story on its stage.
pub async fn play(story: &Story, stage: &Stage) -> Result<(), Failure> {
    play_with(story, stage, PATIENCE).await
}

/// The same, for stories that are known to fail: with less patience.
pub async fn play_with(story: &Story, stage: &Stage, patience: Duration) -> Result<(), Failure> {
    let mut player = Player::new(stage, patience);
    player.skips_greetings = story.name.starts_with("rules/");
    for line in &story.lines {
        player.play(line).await.map_err(|fault| {
            let heard = player.lines.get(&line.on).map(|open| open.inbox.heard()).filter(|heard| !heard.is_empty());
            let heard = heard.map(|heard| format!("\n  the last on {:?}:{heard}", line.on)).unwrap_or_default();
            let report = format!("{}\n  {}{heard}", line.source, fault.0);
            Failure { story: story.name.clone(), line: line.number, report }
        })?;
    }
    player.end().await.map_err(|fault| Failure { story: story.name.clone(), line: 0, report: fault.0 })
}

struct Player<'a> {
    stage: &'a Stage,
    client: Client,
    bindings: Bindings,
    /// Open sockets and streams, by their name in the story.
    lines: BTreeMap<String, Open>,
    /// Answers that no `response` line has looked at yet.
    answers: BTreeMap<String, Answered>,
    patience: Duration,
    /// The rules have no greeting: the one of the socket is another API's.
    skips_greetings: bool,
}

struct Open {
    inbox: Inbox,
    /// Frames for the socket; a stream takes none.
    send: UnboundedSender<String>,
    reader: JoinHandle<()>,
}

enum Answered {
    Whole(Answer),
    Stream(Head, Body),
}

impl<'a> Player<'a> {
    fn new(stage: &'a Stage, patience: Duration) -> Self {
        let mut bindings = Bindings::default();
        bindings.bind("<workdir>", stage.server.workdir().to_string_lossy().into_owned());
        bindings.bind("<owner-token>", stage.server.token.clone());
        bindings.bind("<agent_url>", stage.agent_url.clone());
        bindings.bind("<platform_url>", stage.platform_url.clone());
        let client = Client::new(stage.server.address());
        Self { stage, client, bindings, lines: BTreeMap::new(), answers: BTreeMap::new(), patience, skips_greetings: false }
    }

    async fn play(&mut self, line: &Line) -> Result<(), Fault> {
        match &line.step {
            Step::Request(request) => {
                let answered = self.request(request).await?;
                self.answers.insert(line.on.clone(), answered);
                Ok(())
            }
            Step::Response(expected) => self.response(&line.on, expected),
            Step::Connect(wish) => self.connect(&line.on, wish).await,
            Step::Send(frame) => {
                let frame = self.bindings.fill(frame).map_err(Fault)?.to_string();
                self.send(&line.on, frame)
            }
            Step::SendText(text) => {
                let text = self.bindings.fill_text(text).map_err(Fault)?;
                self.send(&line.on, text)
            }
            Step::Expect(expected) => inbox(&mut self.lines, &line.on)?.expect(expected, &mut self.bindings).await,
            Step::ExpectAnyOrder(expected) => {
                inbox(&mut self.lines, &line.on)?.expect_any_order(expected, &mut self.bindings).await
            }
            Step::ExpectClose { code, reason } => inbox(&mut self.lines, &line.on)?.expect_close(*code, reason.as_deref()).await,
            Step::End => inbox(&mut self.lines, &line.on)?.expect_end().await,
            Step::Disconnect => self.disconnect(&line.on).await,
            Step::Release(pause) => {
                self.stage.release(pause);
                Ok(())
            }
            Step::Eventually { request, response } => self.eventually(request, response).await,
            Step::ModelSaw { request, roles, last } => self.model_saw(*request, roles, last),
            Step::Received { of, expected } => self.received(*of, expected).await,
            Step::ExpectNone { of: Some(of), within } => self.expect_none(&line.on, of, *within).await,
            Step::ExpectNone { of: None, within } => {
                inbox(&mut self.lines, &line.on)?.quiet_until(Instant::now() + *within).await
            }
            Step::Sleep(time) => {
                sleep(*time).await;
                Ok(())
            }
        }
    }

    async fn request(&self, wish: &Value) -> Result<Answered, Fault> {
        let wish = self.bindings.fill(wish).map_err(Fault)?;
        let mut request = Request::new(text(&wish["method"])?, text(&wish["path"])?);
        let is_form = wish["headers"]["content-type"] == FORM;
        for (name, value) in wish["headers"].as_object().into_iter().flatten() {
            let value = self.signed(text(value)?, &wish)?;
            if name != "content-type" {
                request = request.header(name, &value);
            }
        }
        match wish.get("body") {
            Some(body) if is_form => request = request.bytes(FORM, encoded(body).as_bytes()),
            Some(body) => request = request.json(body),
            None => {}
        }
        let (head, mut body) = self.client.open(request).await;
        if head.is_event_stream() {
            return Ok(Answered::Stream(head, body));
        }
        let bytes = body.rest().await;
        Ok(Answered::Whole(Answer { head, body: bytes }))
    }

    /// A header's value, with a signature in it if the story wants one.
    fn signed(&self, value: &str, wish: &Value) -> Result<String, Fault> {
        match value {
            "<sign:twilio>" => {
                let url = format!("http://{}{}", self.client.host(), text(&wish["path"])?);
                let fields = wish["body"].as_object().into_iter().flatten();
                let form: Vec<(String, String)> =
                    fields.map(|(name, value)| Ok((name.clone(), text(value)?.to_owned()))).collect::<Result<_, Fault>>()?;
                Ok(signing::twilio(TWILIO_TOKEN, &url, &form))
            }
            "<sign:bad>" => Ok(signing::base64(&[7; 20])),
            other => Ok(other.to_owned()),
        }
    }

    /// The next call to one of the doubles.
    async fn received(&mut self, of: Kind, expected: &Value) -> Result<(), Fault> {
        let doubles = self.stage.doubles.as_ref().ok_or_else(|| Fault("there are no doubles in this story".to_owned()))?;
        let mut doubles = doubles.lock().await;
        let double = if of == Kind::Agent { &mut doubles.0 } else { &mut doubles.1 };
        // A story that is known to fail is waited for less.
        let patience = if self.patience < PATIENCE { self.patience } else { CALLED_WITHIN };
        let Some(received) = double.next(patience).await else {
            return Err(Fault(format!("nobody called within {patience:?}")));
        };
        let told = format!("{} {} {:?} {}", received.method, received.path, received.headers, received.body);
        let mut expected = expected.clone();
        if let Some(headers) = expected.get_mut("headers").and_then(Value::as_object_mut)
            && headers.get("webhook-signature").is_some_and(|value| value == "<sign:standardwebhooks>")
        {
            headers.remove("webhook-signature");
            let header = |name: &str| received.headers.get(name).and_then(Value::as_str).unwrap_or_default();
            let secret = self.bindings.fill_text("<secret:agent>").map_err(Fault)?;
            let (id, timestamp, signatures) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
            if !signing::standard_webhook_holds(&secret, id, timestamp, &received.raw, signatures) {
                return Err(Fault(format!("the signature is wrong: {told}")));
            }
        }
        let got = json!({
            "method": received.method, "path": received.path, "headers": received.headers, "body": received.body,
        });
        self.bindings.compare(&expected, &got).map_err(|mismatch| Fault(format!("{mismatch}\n  in {told}")))
    }

    async fn expect_none(&mut self, on: &str, of: &str, within: Duration) -> Result<(), Fault> {
        if let Some(kind) = of.strip_prefix("socket:") {
            return inbox(&mut self.lines, on)?.none_of(kind, within).await;
        }
        let doubles = self.stage.doubles.as_ref().ok_or_else(|| Fault("there are no doubles in this story".to_owned()))?;
        let mut doubles = doubles.lock().await;
        let double = if of == "webhook" { &mut doubles.0 } else { &mut doubles.1 };
        match double.peek(within).await {
            None => Ok(()),
            Some(received) => Err(Fault(format!("{} {} {}", received.method, received.path, received.body))),
        }
    }

    fn response(&mut self, on: &str, expected: &Value) -> Result<(), Fault> {
        let answered = self.answers.remove(on).ok_or_else(|| Fault("no request before".to_owned()))?;
        let streams = expected["stream"] == true;
        match answered {
            Answered::Whole(answer) if !streams => check_answer(&mut self.bindings, expected, &answer),
            Answered::Whole(answer) => Err(Fault(format!("expected a stream, got {} {}", answer.status(), answer.text()))),
            Answered::Stream(head, body) if streams && expected["status"] == head.status => {
                let (tell, source) = unbounded_channel();
                let reader = tokio::spawn(read_stream(EventStream::new(body), tell));
                // Nobody reads what is sent on a stream.
                let (send, _) = unbounded_channel();
                self.open(on, Open { inbox: Inbox::new(source, self.patience), send, reader })
            }
            Answered::Stream(head, _) => Err(Fault(format!("expected {expected}, got a stream with status {}", head.status))),
        }
    }

    async fn connect(&mut self, on: &str, wish: &Value) -> Result<(), Fault> {
        let wish = self.bindings.fill(wish).map_err(Fault)?;
        let mut target = text(&wish["path"])?.to_owned();
        let dialect = Dialect::of_path(&target);
        for (index, (name, value)) in wish["query"].as_object().into_iter().flatten().enumerate() {
            let glue = if index == 0 { '?' } else { '&' };
            target += &format!("{glue}{name}={}", percent_encoded(text(value)?));
        }
        let mut headers = Vec::new();
        for (name, value) in wish["headers"].as_object().into_iter().flatten() {
            headers.push((name.clone(), text(value)?.to_owned()));
        }
        let socket = Socket::open(&self.client, &target, &headers).await;
        let socket = socket.map_err(|status| Fault(format!("the socket is refused with {status}")))?;
        let (tell, source) = unbounded_channel();
        let (send, mut frames) = unbounded_channel::<String>();
        let skips_greetings = self.skips_greetings;
        let reader = tokio::spawn(async move {
            let (mut socket, mut referee) = (socket, Watch::new(dialect));
            loop {
                tokio::select! {
                    frame = frames.recv() => match frame {
                        Some(frame) => socket.send_text(&frame).await,
                        None => return,
                    },
                    said = socket.next() => {
                        let is_greeting = matches!(&said, Said::Text(text) if text.contains("\"type\":\"connected\""));
                        let is_skipped = skips_greetings && is_greeting;
                        if !is_skipped && !pass_on(said, &socket, &mut referee, &tell) {
                            return;
                        }
                    }
                }
            }
        });
        self.open(on, Open { inbox: Inbox::new(source, self.patience).speaking(dialect), send, reader })
    }

    fn open(&mut self, on: &str, open: Open) -> Result<(), Fault> {
        match self.lines.insert(on.to_owned(), open) {
            Some(before) => before.inbox.no_text_left(),
            None => Ok(()),
        }
    }

    fn send(&mut self, on: &str, frame: String) -> Result<(), Fault> {
        let open = self.lines.get(on).ok_or_else(|| Fault(format!("there is no socket {on:?}")))?;
        open.send.send(frame).map_err(|_| Fault("the socket is closed".to_owned()))
    }

    async fn disconnect(&mut self, on: &str) -> Result<(), Fault> {
        let mut open = self.lines.remove(on).ok_or_else(|| Fault(format!("there is no socket or stream {on:?}")))?;
        // What was sent before has left.
        sleep(EVENTUALLY_STEP).await;
        open.reader.abort();
        // Only when the task has gone is the connection closed.
        let _ = (&mut open.reader).await;
        open.inbox.no_text_left()
    }

    async fn eventually(&mut self, request: &Value, expected: &Value) -> Result<(), Fault> {
        let deadline = Instant::now() + EVENTUALLY.min(self.patience);
        loop {
            let fault = match self.request(request).await? {
                Answered::Whole(answer) => match check_answer(&mut self.bindings, expected, &answer) {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault,
                },
                Answered::Stream(..) => return Err(Fault("got a stream".to_owned())),
            };
            if Instant::now() > deadline {
                return Err(fault);
            }
            sleep(EVENTUALLY_STEP).await;
        }
    }

    fn model_saw(&mut self, request: usize, roles: &Value, last: &Value) -> Result<(), Fault> {
        let seen = self.stage.model_saw();
        let Some(seen) = request.checked_sub(1).and_then(|index| seen.get(index)) else {
            return Err(Fault(format!("the model was asked {} times only", seen.len())));
        };
        let fault = |what: &str, mismatch| Fault(format!("{what}: {mismatch}\n  in {seen:?}"));
        self.bindings.compare(roles, &seen.roles).map_err(|mismatch| fault("roles", mismatch))?;
        self.bindings.compare(last, &seen.last).map_err(|mismatch| fault("last", mismatch))
    }

    /// Behind the last line: all is quiet, and the model has nothing to complain about.
    async fn end(&mut self) -> Result<(), Fault> {
        if let Some(on) = self.answers.keys().next() {
            return Err(Fault(format!("nobody has looked at the answer on {on:?}")));
        }
        let deadline = Instant::now() + QUIET;
        for (on, open) in &mut self.lines {
            let quiet = open.inbox.quiet_until(deadline).await;
            quiet.map_err(|fault| Fault(format!("on {on:?}: {}{}", fault.0, open.inbox.heard())))?;
        }
        match self.stage.complaints().first() {
            Some(complaint) => Err(Fault(format!("the model complains: {complaint}"))),
            None => Ok(()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn inbox<'l>(lines: &'l mut BTreeMap<String, Open>, on: &str) -> Result<&'l mut Inbox, Fault> {
    let open = lines.get_mut(on).ok_or_else(|| Fault(format!("there is no socket or stream {on:?}")))?;
    Ok(&mut open.inbox)
}

fn check_answer(bindings: &mut Bindings, expected: &Value, answer: &Answer) -> Result<(), Fault> {
    let told = || format!("{} {}", answer.status(), answer.text());
    if expected["status"] != answer.status() {
        return Err(Fault(format!("expected the status {}, got {}", expected["status"], told())));
    }
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        let got = answer.header(name).map_or(Value::Null, Value::from);
        bindings.compare(value, &got).map_err(|mismatch| Fault(format!("header {name}: {mismatch}")))?;
    }
    if let Some(text) = expected.get("body_text")
        && *text != answer.text()
    {
        return Err(Fault(format!("expected the body {text}, got {:?}", answer.text())));
    }
    match expected.get("body") {
        Some(body) => {
            // An answer that is no JSON is a text as a whole.
            let is_json = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
            let got = if is_json { answer.json() } else { Value::from(answer.text()) };
            bindings.compare(body, &got).map_err(|mismatch| Fault(format!("{mismatch}\n  in {}", told())))
        }
        None => Ok(()),
    }
}

async fn read_stream(mut stream: EventStream, tell: UnboundedSender<Got>) {
    let mut referee = Referee::default();
    while let Some(event) = stream.next().await {
        // By the contract the data repeats the type, but for the seed's `connected`.
        let repeats = event.name == "connected" || event.data["type"] == *event.name;
        assert!(repeats, "the data of {} says {}", event.name, event.data["type"]);
        let item = Item { kind: event.name, body: event.data, id: event.id };
        let verdict = referee.event(&item);
        if tell.send(judged(item, verdict)).is_err() {
            return;
        }
    }
    let _ = tell.send(if stream.has_ended_well() { Got::Ended } else { Got::CutOff });
}

/// `false`: there is nothing more to come, or nobody to hear it.
fn pass_on(said: Said, socket: &Socket, referee: &mut Watch, tell: &UnboundedSender<Got>) -> bool {
    let got = match said {
        Said::Text(text) => {
            let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
            let kind = body["type"].as_str().unwrap_or_default().to_owned();
            let item = Item { kind, body, id: None };
            let verdict = referee.frame(&item);
            judged(item, verdict)
        }
        Said::Closed(code) => Got::Closed(code, socket.close_reason.clone()),
        Said::Gone => Got::CutOff,
    };
    let goes_on = matches!(got, Got::Item(_));
    tell.send(got).is_ok() && goes_on
}

fn judged(item: Item, verdict: Result<(), String>) -> Got {
    match verdict {
        Ok(()) => Got::Item(item),
        Err(foul) => Got::Foul(format!("{foul}: {item}")),
    }
}

fn text(value: &Value) -> Result<&str, Fault> {
    value.as_str().ok_or_else(|| Fault(format!("the story should have a text here, not {value}")))
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
