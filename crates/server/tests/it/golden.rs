//! The golden transcripts, played against a real server: `tests/golden/<api>/<story>.jsonl`.
//!
//! Each is played three times: with the scripted model, on SQLite and on PostgreSQL, and with the real client for Anthropic's
//! API talking HTTP to a server that replays the same script and looks closely at what it is asked.

mod doubles;
mod inbox;
mod planted;
mod player;
mod referee;
mod referee_assistant;
pub mod signing;
mod stage;
mod story;
mod types;
mod values;

use std::collections::BTreeSet;
use std::time::Duration;

use player::{play, play_with};
use stage::{Stage, Voice};
use story::Story;

/// What waits for parts of the product that are not built yet: approvals, research, tools that write.
const PENDING: [&str; 5] = [
    "chats/approval",
    "chats/research-missing-topic",
    "chats/research-run",
    "sessions/approval-denied",
    "sessions/modes-and-mention",
];

/// One test for each transcript and voice, and the list of their names.
macro_rules! stories {
    ($($test:ident: $name:literal,)*) => {
        const PLAYED: &[&str] = &[$($name),*];

        mod scripted {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::holds($name, super::Voice::Scripted).await;
                }
            )*
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::holds($name, super::Voice::OnPostgres).await;
                }
            )*
        }

        mod over_http {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::holds($name, super::Voice::OverHttp).await;
                }
            )*
        }
    };
}

stories! {
    assistant_bad_json: "assistant/bad_json",
    assistant_bad_name: "assistant/bad_name",
    assistant_cancel: "assistant/cancel",
    assistant_conversation_rest: "assistant/conversation_rest",
    assistant_disconnect_mid_answer: "assistant/disconnect_mid_answer",
    assistant_empty_message: "assistant/empty_message",
    assistant_model_error: "assistant/model_error",
    assistant_model_error_mid_answer: "assistant/model_error_mid_answer",
    assistant_no_session: "assistant/no_session",
    assistant_ping_during_answer: "assistant/ping_during_answer",
    assistant_project_not_found: "assistant/project_not_found",
    assistant_question_answer: "assistant/question_answer",
    assistant_question_survives: "assistant/question_survives",
    assistant_reconnect_without_start: "assistant/reconnect_without_start",
    assistant_repeat_client_id: "assistant/repeat_client_id",
    assistant_resume: "assistant/resume",
    assistant_resume_mid_answer: "assistant/resume_mid_answer",
    assistant_resume_unknown: "assistant/resume_unknown",
    assistant_second_message_while_busy: "assistant/second_message_while_busy",
    assistant_session_without_start: "assistant/session_without_start",
    assistant_start_new: "assistant/start_new",
    assistant_start_twice: "assistant/start_twice",
    assistant_switch_conversation: "assistant/switch_conversation",
    assistant_tool_call: "assistant/tool_call",
    assistant_tools_refused: "assistant/tools_refused",
    assistant_unknown_type: "assistant/unknown_type",
    chats_cancel: "chats/cancel",
    chats_client_id: "chats/client-id",
    chats_create_list_get_delete: "chats/create-list-get-delete",
    chats_first_message: "chats/first-message",
    chats_history_on_subscribe: "chats/history-on-subscribe",
    chats_model_error: "chats/model-error",
    chats_reconnect_mid_answer: "chats/reconnect-mid-answer",
    chats_tool_use: "chats/tool-use",
    chats_two_messages_while_busy: "chats/two-messages-while-busy",
    rules_approve: "rules/approve",
    rules_bad_input: "rules/bad_input",
    rules_clarify: "rules/clarify",
    rules_csv: "rules/csv",
    rules_disconnect: "rules/disconnect",
    rules_free_text: "rules/free_text",
    rules_from_code: "rules/from_code",
    rules_limits: "rules/limits",
    rules_read_results: "rules/read_results",
    rules_refused: "rules/refused",
    rules_repair_gives_up: "rules/repair_gives_up",
    rules_repaired: "rules/repaired",
    rules_rest_run: "rules/rest_run",
    rules_run_again: "rules/run_again",
    rules_text_answer: "rules/text_answer",
    sessions_busy_and_repeat: "sessions/busy-and-repeat",
    sessions_change_search_export_delete: "sessions/change-search-export-delete",
    sessions_create_and_first_message: "sessions/create-and-first-message",
    sessions_events_resume: "sessions/events-resume",
    sessions_parallel_tools: "sessions/parallel-tools",
    sessions_provider_error: "sessions/provider-error",
    sessions_tool_turn: "sessions/tool-turn",
    socket_bad_input: "socket/bad-input",
    socket_hub_token: "socket/hub-token",
    socket_several_chats: "socket/several-chats",
    socket_sign_in_and_greeting: "socket/sign-in-and-greeting",
    socket_three_dialects: "socket/three-dialects",
}

/// The hub's stories take up to half a minute each, and what the model's client does is none of their business.
macro_rules! hub_stories {
    ($($test:ident: $name:literal,)*) => {
        const HUB_PLAYED: &[&str] = &[$($name),*];

        mod hub {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::holds($name, super::Voice::Scripted).await;
                }
            )*
        }

        mod hub_on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::holds($name, super::Voice::OnPostgres).await;
                }
            )*
        }
    };
}

hub_stories! {
    h01_first_signup: "hub/01-first-signup",
    h02_login: "hub/02-login",
    h03_users_and_roles: "hub/03-users-and-roles",
    h04_agent_with_token: "hub/04-agent-with-token",
    h05_channel_create: "hub/05-channel-create",
    h06_twilio_inbound: "hub/06-twilio-inbound",
    h07_redelivered: "hub/07-redelivered",
    h08_signature: "hub/08-signature",
    h09_status_callback: "hub/09-status-callback",
    h10_burst: "hub/10-burst",
    h11_agent_replies: "hub/11-agent-replies",
    h12_operator_takes_the_floor: "hub/12-operator-takes-the-floor",
    h13_release: "hub/13-release",
    h14_webhook_retry: "hub/14-webhook-retry",
    h15_member_permission: "hub/15-member-permission",
    h16_telegram: "hub/16-telegram",
    h17_opt_out: "hub/17-opt-out",
    h18_pagination: "hub/18-pagination",
    h19_built_in_agent: "hub/19-built-in-agent",
    h20_replies_in_the_answer: "hub/20-replies-in-the-answer",
    h21_assign_and_read: "hub/21-assign-and-read",
    h22_socket: "hub/22-socket",
    h23_delete_chat: "hub/23-delete-chat",
    h24_mute_agent: "hub/24-mute-agent",
    h25_platform_refuses: "hub/25-platform-refuses",
    h26_inbound_errors: "hub/26-inbound-errors",
    h27_validation: "hub/27-validation",
    h28_first_signup_needs_the_owner: "hub/28-first-signup-needs-the-owner",
}

async fn holds(name: &str, voice: Voice) {
    let story = Story::load(name);
    if let Some(need) = story.needs.iter().find(|need| !machine_offers(need)) {
        eprintln!("{name} is skipped: this machine has no {need}");
        return;
    }
    let stage = Stage::set(&story, voice).await;
    if let Err(failure) = play(&story, &stage).await {
        panic!("{failure}");
    }
    stage.strike().await;
}

fn machine_offers(need: &str) -> bool {
    match need {
        "sandbox" => std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|modules| modules.contains("landlock")),
        _ => panic!("nobody has said how to find out whether there is a {need}"),
    }
}

#[test]
fn every_transcript_is_played_or_known_to_be_pending() {
    let files: BTreeSet<String> = Story::all_names().into_iter().collect();
    let known: BTreeSet<String> = PLAYED.iter().chain(HUB_PLAYED).chain(&PENDING).map(|name| (*name).to_owned()).collect();
    assert_eq!(files, known);
    assert_eq!(known.len(), PLAYED.len() + HUB_PLAYED.len() + PENDING.len(), "a transcript is in the lists twice");
}

/// As soon as one of them holds, it belongs to the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_transcripts_do_not_hold_yet() {
    for name in PENDING {
        let story = Story::load(name);
        let stage = Stage::set(&story, Voice::Scripted).await;
        let played = play_with(&story, &stage, Duration::from_secs(2)).await;
        assert!(played.is_err(), "{name} holds: play it");
    }
}
