//! `colloquy token`.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::{complain, say};
use crate::config::ServerConfig;
use crate::data_dir::DataDir;
use crate::local;

pub(super) fn print(config: &ServerConfig) -> ExitCode {
    finish(token(config))
}

pub(super) async fn link(config: &ServerConfig) -> ExitCode {
    finish(new_link(config).await)
}

fn finish(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(line) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Err(line) => {
            complain(&line);
            ExitCode::FAILURE
        }
    }
}

fn token(config: &ServerConfig) -> Result<String, String> {
    match DataDir::at(&config.data_dir).token() {
        Ok(Some(token)) => Ok(token),
        Ok(None) => Err(format!(
            "there is no token in {} yet: the server makes it when it starts for the first time",
            config.data_dir.display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

async fn new_link(config: &ServerConfig) -> Result<String, String> {
    let token = token(config)?;
    let address = running_server(config)?;
    let code = local::new_sign_in_code(address, &token).await.map_err(|reason| format!("{address}: {reason}"))?;
    Ok(format!("http://{address}/#code={code}"))
}

fn running_server(config: &ServerConfig) -> Result<SocketAddr, String> {
    let address = DataDir::at(&config.data_dir).address().map_err(|error| error.to_string())?;
    address.ok_or_else(|| "the server is not running: start it with `colloquy serve`".to_owned())
}
