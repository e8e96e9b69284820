//! The PostgreSQL that `scripts/with-services` has started.

use tokio_postgres::{Client, NoTls};

const VARIABLE: &str = "COLLOQUY_TEST_POSTGRES";

/// The address of a database with nothing in it: a schema of its own, because making a whole database takes long.
pub async fn fresh_database() -> String {
    let server = std::env::var(VARIABLE);
    let server = server.unwrap_or_else(|_| {
        panic!("{VARIABLE} is not set: run tests below scripts/with-services, as make test does it");
    });
    let schema = format!("t_{}", uuid::Uuid::now_v7().simple());
    let client = connect(&server).await;
    client.batch_execute(&format!("CREATE SCHEMA {schema}")).await.expect("a schema");
    format!("{server}?options=-c%20search_path%3D{schema}")
}

/// A connection beside those of the program.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server of the tests");
    tokio::spawn(connection);
    client
}
