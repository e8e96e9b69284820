//! The results of tools, told briefly in Markdown.

use domain::ToolResult;

use super::answer::ASK_USER;

/// Lines of a result that are shown; the whole result stands beside the call anyway.
const SHOWN_LINES: usize = 12;
/// Characters of a line that are shown.
const SHOWN_CHARS: usize = 120;
/// What the tools say instead of a result that is empty.
const NOTHING: [&str; 2] = ["No files match.", "No matches."];

pub(super) fn of(results: &[&ToolResult]) -> String {
    let paragraphs: Vec<String> = results.iter().map(|result| one(result)).collect();
    paragraphs.join("\n\n")
}

fn one(result: &ToolResult) -> String {
    let lines: Vec<&str> = result.output.lines().collect();
    if result.is_error() {
        return format!("The tool `{}` did not succeed:\n\n{}", result.name, fenced(&lines));
    }
    let count = if lines.first().is_some_and(|first| NOTHING.contains(first)) { 0 } else { lines.len() };
    match (result.name.as_str(), count) {
        (ASK_USER, _) => format!("You chose: {}.", short(lines.first().copied().unwrap_or_default())),
        ("glob", 0) => "I found no files.".to_owned(),
        ("glob", count) => format!("I found {}:\n\n{}", counted(count, "file", result), listed(&lines)),
        ("grep", 0) => "Nothing matches.".to_owned(),
        ("grep", count) => format!("The search gave {}:\n\n{}", counted(count, "line", result), found(&lines)),
        ("read_file", 0) => "The file is empty.".to_owned(),
        ("read_file", count) => format!("The file has {}. It begins:\n\n{}", counted(count, "line", result), fenced(&lines)),
        (name, _) => format!("The tool `{name}` answered:\n\n{}", fenced(&lines)),
    }
}

fn counted(count: usize, noun: &str, result: &ToolResult) -> String {
    let at_least = if result.truncated { "at least " } else { "" };
    format!("{at_least}{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn listed(lines: &[&str]) -> String {
    let shown: Vec<String> = lines.iter().take(SHOWN_LINES).map(|line| format!("- `{}`", short(line))).collect();
    format!("{}{}", shown.join("\n"), rest(lines))
}

/// Lines of a search, `path:line:text`, each with its place as a citation; as they are, if one of them is something else.
fn found(lines: &[&str]) -> String {
    let place = |line: &str| {
        let (path, rest) = line.split_once(':')?;
        let (number, text) = rest.split_once(':')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = is_number && !text.contains('`') && !line.contains(char::is_control);
        is_plain.then(|| match text.trim() {
            "" => format!("- `{path}:{number}`"),
            text => format!("- `{path}:{number}` `{}`", short(text)),
        })
    };
    let shown: Option<Vec<String>> = lines.iter().take(SHOWN_LINES).map(|line| place(line)).collect();
    shown.map_or_else(|| fenced(lines), |shown| format!("{}{}", shown.join("\n"), rest(lines)))
}

fn fenced(lines: &[&str]) -> String {
    let shown: Vec<String> = lines.iter().take(SHOWN_LINES).map(|line| short(line)).collect();
    let fence = "`".repeat(shown.iter().map(|line| longest_run_of_backticks(line)).max().unwrap_or(0).max(2) + 1);
    format!("{fence}\n{}\n{fence}{}", shown.join("\n"), rest(lines))
}

fn rest(lines: &[&str]) -> String {
    match lines.len().saturating_sub(SHOWN_LINES) {
        0 => String::new(),
        more => format!("\n\n… and {more} more."),
    }
}

fn short(line: &str) -> String {
    let mut shown: String = line.chars().take(SHOWN_CHARS).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

fn longest_run_of_backticks(line: &str) -> usize {
    line.split(|char| char != '`').map(str::len).max().unwrap_or(0)
}
