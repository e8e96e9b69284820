//! From the Markdown that people and models write to the few HTML tags that Telegram knows. What is no markup stays text; the
//! tags are never longer, in Telegram's count, than the marks they stand for.

/// The text for `parse_mode: "HTML"`.
pub(super) fn from_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split('\n').peekable();
    let mut is_first = true;
    while let Some(line) = lines.next() {
        if !std::mem::take(&mut is_first) {
            out.push('\n');
        }
        match line.trim_start().strip_prefix("```") {
            Some(language) if lines.clone().any(|line| line.trim() == "```") => {
                let code: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
                block_of_code(&mut out, language.trim(), &code.join("\n"));
            }
            _ => one_line(&mut out, line),
        }
    }
    out
}

fn block_of_code(out: &mut String, language: &str, code: &str) {
    let is_name = !language.is_empty() && language.chars().all(|c| c.is_ascii_alphanumeric() || "+-#_.".contains(c));
    match is_name {
        true => out.push_str(&format!("<pre><code class=\"language-{language}\">{}</code></pre>", escape(code))),
        false => out.push_str(&format!("<pre>{}</pre>", escape(code))),
    }
}

fn one_line(out: &mut String, line: &str) {
    let hashes = line.chars().take_while(|c| *c == '#').count();
    match line.get(hashes..).and_then(|rest| rest.strip_prefix(' ')) {
        Some(heading) if (1..=6).contains(&hashes) && !heading.trim().is_empty() => wrap(out, "b", &inline(heading)),
        _ => match line.strip_prefix("> ") {
            Some(quoted) => wrap(out, "blockquote", &inline(quoted)),
            None => out.push_str(&inline(line)),
        },
    }
}

fn wrap(out: &mut String, tag: &str, inner: &str) {
    out.push_str(&format!("<{tag}>{inner}</{tag}>"));
}

/// Marks, longest first, and their tags.
const MARKS: [(&str, &str); 6] = [("**", "b"), ("__", "b"), ("~~", "s"), ("*", "i"), ("_", "i"), ("`", "code")];

fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let found = marked(text, at).or_else(|| link(text, at));
        match found {
            Some((html, end)) => {
                out.push_str(&html);
                at = end;
            }
            None => {
                push_escaped(&mut out, c);
                at += c.len_utf8();
            }
        }
    }
    out
}

/// `**words**` at `at`: the HTML, and where the text goes on.
fn marked(text: &str, at: usize) -> Option<(String, usize)> {
    let rest = &text[at..];
    let (mark, tag) = MARKS.into_iter().find(|(mark, _)| rest.starts_with(mark))?;
    let before = text[..at].chars().next_back();
    let inner = &rest[mark.len()..];
    // `2*3*4` and `snake_case_name` are no emphasis.
    let opens = mark == "`" || before.is_none_or(|c| !c.is_alphanumeric());
    let end = inner.match_indices(mark).map(|(end, _)| end).find(|end| closes(mark, inner, *end))?;
    if !opens || end == 0 || inner.starts_with(char::is_whitespace) {
        return None;
    }
    let words = &inner[..end];
    let html = if mark == "`" { escape(words) } else { inline(words) };
    Some((format!("<{tag}>{html}</{tag}>"), at + mark.len() * 2 + end))
}

fn closes(mark: &str, inner: &str, end: usize) -> bool {
    let after = inner[end + mark.len()..].chars().next();
    let before = inner[..end].chars().next_back();
    let is_alone = mark.len() > 1 || after != mark.chars().next();
    mark == "`" || (is_alone && before.is_some_and(|c| !c.is_whitespace()) && after.is_none_or(|c| !c.is_alphanumeric()))
}

/// `[words](https://…)` at `at`; other schemes stay text.
fn link(text: &str, at: usize) -> Option<(String, usize)> {
    let (words, behind) = text[at..].strip_prefix('[')?.split_once("](")?;
    let (address, _) = behind.split_once(')')?;
    let is_web = url::Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if words.is_empty() || words.contains(['[', ']']) || address.contains(char::is_whitespace) || !is_web {
        return None;
    }
    let end = at + 1 + words.len() + 2 + address.len() + 1;
    Some((format!("<a href=\"{}\">{}</a>", escape(address), escape(words)), end))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::from_markdown;

    #[test]
    fn markdown_becomes_telegrams_tags_and_all_else_stays_text() {
        for (markdown, html) in [
            ("¡hola <Zoe>!", "¡hola &lt;Zoe&gt;!"),
            ("a & b", "a &amp; b"),
            ("**bold** and *it* and _it_ and ~~gone~~", "<b>bold</b> and <i>it</i> and <i>it</i> and <s>gone</s>"),
            ("`a<b` x", "<code>a&lt;b</code> x"),
            ("**a `**` b**", "<b>a `</b>` b**"),
            ("2*3*4 and snake_case_name", "2*3*4 and snake_case_name"),
            ("* item\n* item", "* item\n* item"),
            ("5 * 3 * 2", "5 * 3 * 2"),
            ("# Title\ntext", "<b>Title</b>\ntext"),
            ("#tag", "#tag"),
            ("> quoted *it*", "<blockquote>quoted <i>it</i></blockquote>"),
            ("[a](https://x.example/?a=1&b=\"2\")", "<a href=\"https://x.example/?a=1&amp;b=&quot;2&quot;\">a</a>"),
            ("[a](javascript:alert(1))", "[a](javascript:alert(1))"),
            (
                "```rust\nlet a = \"<b>\";\n```\nx",
                "<pre><code class=\"language-rust\">let a = &quot;&lt;b&gt;&quot;;</code></pre>\nx",
            ),
            ("```\na\n```", "<pre>a</pre>"),
            ("```\nnever closed", "```\nnever closed"),
            ("**open", "**open"),
            ("****", "****"),
            ("", ""),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ] {
            assert_eq!(from_markdown(markdown), html, "{markdown:?}");
        }
    }

    /// Every tag that is opened is closed, in order, whatever is written.
    #[test]
    fn tags_are_balanced_whatever_is_written() {
        let pieces =
            ["**", "*", "_", "__", "~~", "`", "```", "\n", "a", " ", "<b>", "&", "[x](https://a.example)", "# ", "> ", "é"];
        let mut state = 3_u64;
        for round in 0..4000 {
            let mut text = String::new();
            for _ in 0..round % 25 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[usize::try_from(state >> 33).expect("31 bits") % pieces.len()]);
            }
            let html = from_markdown(&text);
            let mut open = Vec::new();
            for tag in html.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
                match tag.strip_prefix('/') {
                    Some(name) => assert_eq!(open.pop(), Some(name.to_owned()), "{text:?} {html:?}"),
                    None => open.push(tag.split(' ').next().unwrap_or_default().to_owned()),
                }
            }
            assert!(open.is_empty(), "{text:?} {html:?}");
        }
    }
}
