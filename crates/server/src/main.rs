//! `colloquy`: one program that gives people and AI agents durable conversations.

use std::process::ExitCode;

fn main() -> ExitCode {
    server::commands::run(std::env::args_os())
}
