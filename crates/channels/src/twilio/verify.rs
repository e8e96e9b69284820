use domain::sockets::channel::{Authenticity, ChannelAccess, InboundRequest};
use ring::digest;

use crate::signature::{self, TwilioAlgorithm};
use crate::wire::{form, genuine_if};

/// Checks `X-Twilio-Signature` with every key and for every spelling of the address that Twilio may have used.
pub(super) fn verify(access: &ChannelAccess, request: &InboundRequest) -> Authenticity {
    let Some(offered) = request.header("x-twilio-signature") else { return Authenticity::Unsigned };
    let Some(form) = signed_form(request) else { return Authenticity::Forged };
    let is_right = |algorithm, key: &str, url: &str| {
        signature::same(signature::twilio(algorithm, key, url, &form).as_bytes(), offered.as_bytes())
    };
    let urls = urls(access, request);
    genuine_if(keys(access, request).any(|(algorithm, key)| urls.iter().any(|url| is_right(algorithm, key, url))))
}

/// The parameters that are signed. A body that is no form is signed by its hash, which stands in the address.
fn signed_form(request: &InboundRequest) -> Option<Vec<(String, String)>> {
    let query = form(request.query().as_bytes());
    let Some((_, hash)) = query.iter().find(|(name, _)| name == "bodySHA256") else { return Some(form(&request.body)) };
    let actual = signature::hex(digest::digest(&digest::SHA256, &request.body).as_ref());
    signature::same(actual.as_bytes(), hash.to_lowercase().as_bytes()).then(Vec::new)
}

/// The Auth Token and, while it is being changed, the one before; or the shared key that the request names.
fn keys<'a>(access: &'a ChannelAccess, request: &InboundRequest) -> impl Iterator<Item = (TwilioAlgorithm, &'a str)> {
    let credentials = &access.credentials;
    let settings = request.header("x-twilio-webhooks-signature-settings");
    let shared = settings.filter(|settings| names_our_key(settings, credentials.get("shared_key_id")));
    let shared = shared.and_then(|_| credentials.get("shared_key_secret")).map(|key| (TwilioAlgorithm::HmacSha256, key));
    let tokens = ["token", "previous_token"].into_iter().filter(move |_| settings.is_none());
    let tokens = tokens.filter_map(|name| credentials.get(name)).map(|key| (TwilioAlgorithm::HmacSha1, key));
    tokens.chain(shared).collect::<Vec<_>>().into_iter()
}

/// `key=SK…,algorithm=HMAC_SHA256`
fn names_our_key(settings: &str, our_id: Option<&str>) -> bool {
    let value = |wanted: &str| {
        let mut pairs = settings.split(',').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    our_id.is_some() && value("key") == our_id && value("algorithm") == Some("HMAC_SHA256")
}

/// The address as Twilio knows it, with and without the scheme's own port. Never from `X-Forwarded-*`, which anybody can write.
fn urls(access: &ChannelAccess, request: &InboundRequest) -> Vec<String> {
    let base = match (&access.webhook_base_url, &request.loopback_host) {
        (Some(base), _) => base.trim_end_matches('/').to_owned(),
        (None, Some(host)) => format!("http://{host}"),
        (None, None) => return Vec::new(),
    };
    let other = other_port(&base);
    std::iter::once(base).chain(other).map(|base| format!("{base}{}", request.path_and_query)).collect()
}

fn other_port(base: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host_has_port = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind).contains(':');
    match authority.strip_suffix(port) {
        Some(host) => Some(format!("{scheme}://{host}{path}")),
        None if host_has_port => None,
        None => Some(format!("{scheme}://{authority}{port}{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::other_port;

    #[test]
    fn the_standard_port_is_left_out_or_put_in() {
        for (base, other) in [
            ("https://a.example", Some("https://a.example:443")),
            ("https://a.example:443/p", Some("https://a.example/p")),
            ("https://a.example/p", Some("https://a.example:443/p")),
            ("http://[::1]", Some("http://[::1]:80")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("http://a:8000", None),
            ("https://a:80", None),
        ] {
            assert_eq!(other_port(base).as_deref(), other, "{base}");
        }
    }
}
