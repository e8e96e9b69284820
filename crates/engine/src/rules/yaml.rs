//! YAML as a tree that knows its lines, so that every complaint about the rules file can name one. Anchors and tags are
//! refused: a rules file is data, and short.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// By the contract.
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// Far deeper than any rules file.
const MAX_DEPTH: usize = 32;

/// Something in the file, and the line it begins on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub line: usize,
    pub value: Yaml,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Yaml {
    Null,
    /// Numbers and words alike; whoever reads it says which it must be.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

/// What is wrong with the file: one sentence that names line and field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FileError {
    pub line: usize,
    pub reason: String,
}

impl FileError {
    pub(super) fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// The one document of the text; an empty text is an empty map.
pub(super) fn read(text: &str) -> Result<Node, FileError> {
    if text.len() > MAX_BYTES {
        return Err(FileError::new(1, format!("the file is larger than {MAX_BYTES} bytes")));
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), depth: 0 };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamEnd | Event::Nothing => {}
            _ if root.is_some() => return Err(FileError::new(line(&span), "only one document is allowed")),
            event => root = Some(reader.node(event, span)?),
        }
    }
    Ok(match root {
        Some(Node { value: Yaml::Null, line }) => Node { line, value: Yaml::Map(Vec::new()) },
        Some(root) => root,
        None => Node { line: 1, value: Yaml::Map(Vec::new()) },
    })
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, FileError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(FileError::new(error.marker().line(), error.info().to_owned())),
        }
    }

    fn expect(&mut self) -> Result<(Event<'a>, Span), FileError> {
        self.next()?.ok_or_else(|| FileError::new(1, "the file breaks off"))
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, FileError> {
        let at = line(&span);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FileError::new(at, "nested too deeply"));
        }
        let value = match event {
            Event::Alias(_) => return Err(FileError::new(at, "anchors are not allowed")),
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                if anchor != 0 || tag.is_some() =>
            {
                return Err(FileError::new(at, "anchors and tags are not allowed"));
            }
            Event::Scalar(text, style, _, _) => scalar(&text, style),
            Event::SequenceStart(..) => Yaml::List(self.list()?),
            Event::MappingStart(..) => Yaml::Map(self.map()?),
            _ => return Err(FileError::new(at, "a value is missing")),
        };
        self.depth -= 1;
        Ok(Node { line: at, value })
    }

    fn list(&mut self) -> Result<Vec<Node>, FileError> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<(String, Node)>, FileError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (key, span) = match self.expect()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, span) => (self.node(event, span)?, span),
            };
            let Yaml::Scalar(key) = key.value else { return Err(FileError::new(line(&span), "a key must be a word")) };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(FileError::new(line(&span), format!("{key} is there twice")));
            }
            let (event, span) = self.expect()?;
            let value = self.node(event, span)?;
            entries.push((key, value));
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Yaml {
    if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        Yaml::Null
    } else {
        Yaml::Scalar(text.to_owned())
    }
}

fn line(span: &Span) -> usize {
    span.start.line()
}

#[cfg(test)]
mod tests {
    use super::{Yaml, read};

    #[test]
    fn lines_are_known() {
        let root = read("a: 1\nb:\n  - x\n  - {c: 'd'}\n").expect("good");
        let Yaml::Map(entries) = root.value else { panic!("a map") };
        assert_eq!(entries[1].0, "b");
        let Yaml::List(items) = &entries[1].1.value else { panic!("a list") };
        assert_eq!((items[0].line, items[1].line), (3, 4));
    }

    #[test]
    fn what_is_no_data_is_refused() {
        for (text, line) in
            [("a: &x 1\n", 1), ("a: 1\nb: !t 2\n", 2), ("a: 1\na: 2\n", 2), ("a: [1\n", 2), ("a: 1\n---\nb: 2\n", 3)]
        {
            let error = read(text).expect_err(text);
            assert!(error.line >= line && error.line <= line + 1, "{text}: {error}");
        }
        assert_eq!(read("").expect("empty").value, Yaml::Map(Vec::new()));
    }
}
