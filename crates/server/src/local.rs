//! Asks the server that runs on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value;

use crate::data_dir::reachable;

/// A server of this machine that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// A fresh code for a sign-in link. The error is a sentence.
pub(crate) async fn new_sign_in_code(address: SocketAddr, token: &str) -> Result<String, String> {
    let (client, url) = client(address, "/api/sign-in-codes")?;
    let answered = tokio::time::timeout(PATIENCE, client.post(url).bearer_auth(token).send()).await;
    let response = answered.map_err(|_| "the server does not answer".to_owned())?;
    let response = response.map_err(|_| "the server is not running: start it with `colloquy serve`".to_owned())?;
    match response.status() {
        status if status.is_success() => {
            code_of(response).await.ok_or_else(|| "the server's answer is not understood".to_owned())
        }
        StatusCode::UNAUTHORIZED => Err("another server runs there: it does not know this token".to_owned()),
        status => Err(format!("the server answered {status}")),
    }
}

/// Whether a server of ours answers there.
pub(crate) async fn is_healthy(address: SocketAddr) -> bool {
    let Ok((client, url)) = client(address, "/health") else { return false };
    let answered = tokio::time::timeout(PATIENCE, client.get(url).send()).await;
    matches!(answered, Ok(Ok(response)) if response.status().is_success())
}

fn client(address: SocketAddr, path: &str) -> Result<(Client, Url), String> {
    let url = Url::parse(&format!("http://{}{path}", reachable(address))).map_err(|error| error.to_string())?;
    let client = models::http_client(&url, PATIENCE).map_err(|error| error.to_string())?;
    Ok((client, url))
}

async fn code_of(response: Response) -> Option<String> {
    let answer: Value = serde_json::from_slice(&response.bytes().await.ok()?).ok()?;
    answer["code"].as_str().map(str::to_owned)
}
