//! A server that would be open to the world does not start.

use crate::harness::{Place, Setup};
use crate::harness_process::{run, show};

const EX_CONFIG: i32 = 78;

#[test]
fn s08_without_sign_in_nobody_listens_to_the_world() {
    for listen in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0,0.0.0.0:0", "[::1]:0,[::]:0", "192.0.2.1:0", "[::ffff:0.0.0.0]:0"] {
        refuses(&Setup::new().setting("COLLOQUY_LISTEN", listen), &["serve"]);
        refuses(&Setup::new(), &["serve", "--listen", listen]);
        refuses(&Setup::default().setting("COLLOQUY_LISTEN", listen), &["serve", "--auth", "off"]);
        refuses(&Setup::default().setting("COLLOQUY_LISTEN", listen).data_file("colloquy.toml", "auth = \"off\"\n"), &["serve"]);
    }
}

#[test]
fn a_misspelled_setting_is_not_passed_over() {
    refuses(&Setup::new().setting("COLLOQUY_AUHT", "token"), &["serve"]);
    refuses(&Setup::default().setting("COLLOQUY_AUTH", "Off"), &["serve"]);
    refuses(&Setup::new().data_file("colloquy.toml", "auht = \"token\"\n"), &["serve"]);
}

#[test]
fn a_place_that_is_not_there_is_not_replaced_by_another() {
    refuses(&Setup::new().setting("DATABASE_URL", "sqlite:/no/such/directory/colloquy.db"), &["serve"]);
    // Of the addresses that are nobody's (RFC 5737).
    refuses(&Setup::default().setting("COLLOQUY_LISTEN", "192.0.2.1:0"), &["serve"]);
}

/// It says why in one line that names the setting, and leaves nothing that looks like a server.
fn refuses(setup: &Setup, arguments: &[&str]) {
    let place = Place::new(setup);
    let output = run(setup, &place, arguments);
    let (said, complained) = (show(&output.stdout), show(&output.stderr));
    assert_eq!(output.status.code(), Some(EX_CONFIG), "{setup:?} {arguments:?}: {said}{complained}");
    assert_eq!(said, "", "{setup:?}");
    assert_eq!(complained.lines().count(), 1, "{complained}");
    let named = ["COLLOQUY_", "DATABASE_URL", "--", "colloquy.toml"].iter().any(|name| complained.contains(name));
    assert!(named, "{complained}");
}
