//! All paths of the hub. Each answers with and without a slash behind it.

use axum::Router;
use axum::routing::{delete, get, post, put};

use super::{accounts, agents, canned, channels, chats, console, contacts, files, notes, small, webhooks};
use crate::App;
use crate::kit::Routes as _;

pub fn routes() -> Router<App> {
    Router::new().merge(people()).merge(of_channels()).merge(of_chats()).merge(of_platforms()).merge(rest())
}

fn people() -> Router<App> {
    Router::new()
        .at("/auth/has-users", get(accounts::has_users))
        .at("/auth/signup", post(accounts::sign_up))
        .at("/auth/token", post(accounts::log_in))
        .at("/auth/refresh", post(accounts::refresh))
        .at("/auth/logout", post(accounts::log_out))
        .at("/auth/users", get(accounts::list).post(accounts::create))
        .at("/auth/users/{user}", get(accounts::show).put(accounts::change).delete(accounts::remove))
        .at("/auth/agents", get(agents::list).post(agents::create))
        .at("/auth/agents/{agent}", get(agents::show).put(agents::change).delete(agents::remove))
        .at("/auth/agents/{agent}/tokens", get(agents::tokens).post(agents::new_token))
        .at("/auth/agents/{agent}/tokens/{token}", delete(agents::revoke_token))
        .at("/auth/agents/{agent}/webhook-secret", post(agents::new_secret))
        .at("/auth/agents/{agent}/test", post(agents::test))
        .at("/auth/agents/{agent}/deliveries", get(agents::deliveries))
        .at("/auth/agents/{agent}/deliveries/{delivery}/retry", post(agents::retry_delivery))
}

fn of_channels() -> Router<App> {
    Router::new()
        .at("/channels", get(channels::list).post(channels::create))
        .at("/channels/platforms", get(channels::platforms))
        .at("/channels/{channel}", get(channels::show).put(channels::change).delete(channels::remove))
        .at("/channels/{channel}/credentials", get(channels::credentials))
        .at("/channels/{channel}/permissions", get(channels::permissions))
        .at("/channels/{channel}/permissions/{user}", put(channels::grant).delete(channels::revoke))
        .at("/channels/{channel}/outbox", get(channels::outbox))
        .at("/channels/{channel}/traffic", get(console::traffic))
        .at("/channels/{channel}/test", post(console::test))
        .at("/channels/{channel}/chats", get(chats::of_channel))
}

fn of_chats() -> Router<App> {
    Router::new()
        .at("/chats", get(chats::of_all))
        .at("/channels/{channel}/chats/{chat}", get(chats::show).delete(chats::remove))
        .at("/channels/{channel}/chats/{chat}/assign", post(chats::assign))
        .at("/channels/{channel}/chats/{chat}/unassign", post(chats::unassign))
        .at("/channels/{channel}/chats/{chat}/read", post(chats::read))
        .at("/channels/{channel}/chats/{chat}/take", post(chats::take))
        .at("/channels/{channel}/chats/{chat}/release", post(chats::release))
        .at("/channels/{channel}/chats/{chat}/drafts", get(chats::drafts))
        .at("/channels/{channel}/chats/{chat}/activity", get(chats::activity))
        .at("/channels/{channel}/chats/{chat}/messages", get(chats::messages).post(chats::say))
        .at("/channels/{channel}/chats/{chat}/messages/{message}/resend", post(chats::resend))
        .at("/channels/{channel}/chats/{chat}/attachments/{attachment}", get(files::show))
        .at("/channels/{channel}/chats/{chat}/agents", get(chats::agents).post(chats::link))
        .at("/channels/{channel}/chats/{chat}/agents/{agent}", get(chats::agent).put(chats::set_agent).delete(chats::unlink))
        .at("/channels/{channel}/chats/{chat}/notes", get(notes::list).post(notes::add))
        .at("/channels/{channel}/chats/{chat}/notes/{note}", put(notes::edit).delete(notes::remove))
        .at("/webhooks/agent/{chat}", post(chats::say_in_chat))
}

fn of_platforms() -> Router<App> {
    let of_channel = || get(webhooks::of_channel).post(webhooks::of_channel);
    Router::new()
        .at("/webhooks/inbound/{platform}/{channel}", of_channel())
        .at("/webhooks/{platform}/{channel}", of_channel())
        .at("/api/inbound/{platform}/{channel}", of_channel())
        .at("/webhooks/{platform}", get(webhooks::of_platform).post(webhooks::of_platform))
}

fn rest() -> Router<App> {
    Router::new()
        .at("/contacts/{contact}", get(contacts::show))
        .at("/contacts/{contact}/merge", post(contacts::merge))
        .at("/contacts/{contact}/opt-out", delete(contacts::end_opt_out))
        .at("/canned-replies", get(canned::list).post(canned::create))
        .at("/canned-replies/{reply}", put(canned::change).delete(canned::remove))
        .at("/ws/stats", get(small::stats))
        .at("/globals", get(small::globals))
        .at("/menu", get(small::menu))
}
