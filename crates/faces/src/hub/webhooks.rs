//! What platforms tell us: `POST /webhooks/inbound/{platform}/{channel}` and its other spellings. Proof is the platform's
//! signature, never a token, so what comes in is handed on as it came, byte for byte.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::hub::HubId as _;
use domain::sockets::channel::InboundRequest;
use engine::{NotReceived, Received, Taken};
use serde_json::{Value, json};

use crate::App;
use crate::kit::auth::Peer;
use crate::kit::body;
use crate::kit::error::{Form, Refusal};
use crate::kit::path::Path;

/// Headers that say that somebody else speaks, or that a page of some site does.
const NOT_DIRECT: [&str; 6] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "origin"];

/// What Twilio wants to hear; JSON would be logged as an error at its customer's.
const TWIML: &str = "<Response/>";

/// `/webhooks/inbound/{platform}/{channel}`
pub async fn of_channel(State(app): State<App>, Path((platform, channel)): Path<(String, String)>, request: Request) -> Response {
    receive(&app, &platform, Some(&channel), request).await
}

/// `/webhooks/{platform}`, while there is one channel of that platform.
pub async fn of_platform(State(app): State<App>, Path(platform): Path<String>, request: Request) -> Response {
    receive(&app, &platform, None, request).await
}

async fn receive(app: &App, platform: &str, channel: Option<&str>, request: Request) -> Response {
    let wants_twiml = request.headers().contains_key("x-twilio-signature") && !accepts_json(request.headers());
    let request = match as_it_came(app, request).await {
        Ok(request) => request,
        Err(refusal) => return refusal.render(Form::Hub),
    };
    match app.engine.receive(platform, channel, request).await {
        Ok(Received::Challenge(text)) => text.into_response(),
        Ok(Received::Taken(_)) if wants_twiml => ([(header::CONTENT_TYPE, "text/xml")], TWIML).into_response(),
        Ok(Received::Taken(taken)) => Json(told(&taken)).into_response(),
        Err(error) => not_received(error),
    }
}

async fn as_it_came(app: &App, request: Request) -> Result<InboundRequest, Refusal> {
    let is_get = *request.method() == Method::GET;
    let peer = request.extensions().get::<Peer>().copied();
    let host = header(request.headers(), header::HOST.as_str());
    let is_direct = NOT_DIRECT.iter().all(|name| !request.headers().contains_key(*name));
    let loopback_host = host.filter(|host| {
        is_direct && app.boundary.is_our_host(host) && peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
    });
    let path_and_query = request.uri().path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let headers = request.headers().iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let headers = headers.collect();
    let received_at = app.engine.clock().now();
    let body = body::read_any(request).await?.to_vec();
    Ok(InboundRequest { received_at, is_get, headers, path_and_query, loopback_host, body })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn accepts_json(headers: &HeaderMap) -> bool {
    header(headers, header::ACCEPT.as_str()).is_some_and(|accept| accept.contains("application/json"))
}

/// One answer for everything that the request told: that of the first message, or else of the first thing.
fn told(taken: &[Taken]) -> Value {
    let message = taken.iter().find(|one| matches!(one, Taken::Message { .. }));
    match message.or_else(|| taken.first()) {
        Some(Taken::Message { chat, message, kind, duplicate }) => {
            let mut body = json!({
                "status": "success",
                "chat_id": chat.spelled(),
                "message_id": message.spelled(),
                "message_type": kind,
            });
            if *duplicate {
                body["duplicate"] = json!(true);
            }
            body
        }
        Some(Taken::Status { message, external_id, status }) => json!({
            "status": "success",
            "message_id": message.spelled(),
            "message_sid": external_id,
            "delivery_status": status.as_str(),
        }),
        Some(Taken::UnknownMessage { external_id }) => {
            json!({"status": "warning", "message": format!("Message {external_id} not found for status update")})
        }
        Some(Taken::UnknownStatus { word }) => json!({"status": "warning", "message": format!("Unknown status: {word}")}),
        Some(Taken::Ignored) | None => json!({"status": "ignored"}),
    }
}

fn not_received(error: NotReceived) -> Response {
    let status = match &error {
        NotReceived::UnknownPlatform(_) | NotReceived::OtherPlatform { .. } => StatusCode::BAD_REQUEST,
        NotReceived::UnknownChannel(_) => StatusCode::NOT_FOUND,
        NotReceived::NoConnector(_) => StatusCode::NOT_IMPLEMENTED,
        NotReceived::Forged => StatusCode::FORBIDDEN,
        NotReceived::Unreadable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        // The platform repeats what was answered so.
        NotReceived::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let detail = match &error {
        NotReceived::Failed(_) => "The message could not be stored".to_owned(),
        other => other.to_string(),
    };
    (status, Json(json!({"detail": detail}))).into_response()
}
