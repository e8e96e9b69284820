//! Slack's own escapes. In: references become what people read. Out: three characters are escaped, so that nothing of ours is
//! taken for a reference.

/// `Hello <@U1>, see <https://a.example|this> &amp; that` is `Hello @U1, see this (https://a.example) & that`.
pub(super) fn to_plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('<') {
        out.push_str(before);
        match behind.split_once('>') {
            Some((reference, after)) => {
                out.push_str(&expand(reference));
                rest = after;
            }
            None => {
                out.push('<');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    // The ampersand comes last, or `&amp;lt;` would become `<`.
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn expand(reference: &str) -> String {
    let (target, label) = reference.split_once('|').map_or((reference, None), |(target, label)| (target, Some(label)));
    let shown = |name: &str| label.unwrap_or(name).to_owned();
    match (target.chars().next(), target.get(1..)) {
        (Some('@'), Some(user)) => format!("@{}", shown(user)),
        (Some('#'), Some(channel)) => format!("#{}", shown(channel)),
        (Some('!'), Some(special)) => format!("@{}", shown(special)),
        _ => match label.filter(|label| *label != target) {
            Some(label) => format!("{label} ({target})"),
            None => target.to_owned(),
        },
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{escape, to_plain};

    #[test]
    fn references_become_what_people_read() {
        for (slack, plain) in [
            ("hi <@U024BE7LH>", "hi @U024BE7LH"),
            ("<@U1|zoe> <#C024BE7LR|general> <#C1> <!here>", "@zoe #general #C1 @here"),
            ("<https://a.example|the page> <https://b.example>", "the page (https://a.example) https://b.example"),
            ("<mailto:a@b.example|a@b.example>", "a@b.example (mailto:a@b.example)"),
            ("1 &lt; 2 &amp;&amp; 3 &gt; 2 &amp;lt;", "1 < 2 && 3 > 2 &lt;"),
            ("a < b", "a < b"),
            ("<>", ""),
        ] {
            assert_eq!(to_plain(slack), plain, "{slack}");
        }
        assert_eq!(escape("<!channel> & co"), "&lt;!channel&gt; &amp; co");
    }
}
