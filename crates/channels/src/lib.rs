//! Messaging platforms, and the guarded way to every address that somebody else chose.
//!
//! To add a platform: a module that implements [`Channel`](domain::sockets::channel::Channel), and a line in [`connectors`].

mod agent;
mod consent;
pub mod egress;
mod media;
mod portions;
pub mod signature;
mod slack;
mod split;
mod telegram;
mod twilio;
mod webhook;
mod whatsapp_cloud;
mod wire;

use std::sync::Arc;

use domain::sockets::channel::Channel;
use domain::sockets::egress::Egress;

pub use agent::AgentWebhook;
pub use slack::Slack;
pub use telegram::Telegram;
pub use twilio::Twilio;
pub use webhook::Webhook;
pub use whatsapp_cloud::WhatsappCloud;

/// Every platform that can be spoken to; all of them call through the same guarded client.
#[must_use]
pub fn connectors(egress: &Arc<dyn Egress>) -> Vec<Arc<dyn Channel>> {
    vec![
        Arc::new(WhatsappCloud::new(Arc::clone(egress))),
        Arc::new(Twilio::whatsapp(Arc::clone(egress))),
        Arc::new(Telegram::new(Arc::clone(egress))),
        Arc::new(Twilio::sms(Arc::clone(egress))),
        Arc::new(Slack::new(Arc::clone(egress))),
        Arc::new(Webhook::new(Arc::clone(egress))),
    ]
}
