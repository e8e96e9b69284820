//! Stopping: nobody is left hanging, and it does not take for ever.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::serve_kit::{PATIENCE, TestServer};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let server = TestServer::start().await;
    let silent = server.connect().await;
    assert_eq!(server.get("/health", "").await.status, 200);
    let address = server.address();
    let began = Instant::now();
    timeout(PATIENCE, server.running.shut_down()).await.expect("an end");
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop(silent);
}

#[tokio::test]
async fn sockets_are_told_to_come_back() {
    let server = TestServer::start().await;
    let mut request = format!("ws://{}/ws", server.address()).into_client_request().expect("a request");
    let proof = format!("Bearer {}", server.running.owner_token);
    request.headers_mut().insert("authorization", proof.parse().expect("a header"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a socket");
    let greeting = socket.next().await.expect("a frame").expect("a frame");
    assert!(greeting.is_text(), "{greeting:?}");
    let began = Instant::now();
    let stopping = tokio::spawn(server.running.shut_down());
    let code = loop {
        match timeout(PATIENCE, socket.next()).await.expect("in time") {
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            Some(Ok(_)) => {}
            other => panic!("no close frame but {other:?}"),
        }
    };
    assert_eq!(code, 1012);
    drop(socket);
    timeout(PATIENCE, stopping).await.expect("an end").expect("no panic");
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn the_same_directory_can_be_used_again() {
    let server = TestServer::start().await;
    let (token, data) = (server.running.owner_token.clone(), server.data);
    server.running.shut_down().await;
    let config = server::ServerConfig::on_free_port(data.path().join("data"));
    let again = server::start(config).await.expect("it starts again");
    assert_eq!(again.owner_token, token);
}
