//! Glob patterns for paths beneath the working directory, the same for `glob` and for `grep`'s filter.

use domain::sockets::tool::ToolError;
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::PathError;
use crate::input::invalid;
use crate::workdir::{Workdir, names_another_place};

/// Longer than any pattern a person writes; keeps compiling one below a few milliseconds.
const PATTERN_LIMIT_BYTES: usize = 1000;

#[derive(Debug)]
pub(crate) struct PathPattern {
    set: GlobSet,
    /// A pattern without `/` is about names, at any depth.
    names_only: bool,
    /// The directories that every match lies in, as far as they are spelled out.
    ancestors: Vec<String>,
    mentions_hidden: bool,
}

impl PathPattern {
    /// Reads the pattern in the input's `field`. Like a path it may be relative or absolute inside the working directory.
    pub(crate) fn parse(workdir: &Workdir, field: &str, pattern: &str) -> Result<Self, ToolError> {
        if pattern.is_empty() || pattern.len() > PATTERN_LIMIT_BYTES || pattern.contains('\0') {
            let reason = format!("`{field}` must have 1 to {PATTERN_LIMIT_BYTES} bytes, none of them NUL");
            return Err(invalid(&reason));
        }
        let (anchored, pattern) = beneath(workdir, pattern).map_err(|error| ToolError(error.to_string()))?;
        let names_only = !anchored && !pattern.contains('/');
        let set = compile(&pattern).map_err(|error| invalid(&format!("`{field}`: {}", error.kind())))?;
        let mentions_hidden = mentions_hidden(&pattern);
        Ok(Self { set, names_only, ancestors: spelled_out_ancestors(&pattern), mentions_hidden })
    }

    /// Whether the path, with `/` between its names, matches.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        let subject = if self.names_only { path.rsplit(|byte| *byte == b'/').next().unwrap_or(path) } else { path };
        self.set.is_match_candidate(&Candidate::from_bytes(subject))
    }

    /// Whether something in this directory may match, so that a walk need not look into the others.
    pub(crate) fn may_match_inside(&self, directory: &[u8]) -> bool {
        let names = directory.split(|byte| *byte == b'/');
        names.zip(&self.ancestors).all(|(name, ancestor)| name == ancestor.as_bytes())
    }

    /// Whether the pattern asks for names that begin with a dot, which are passed over otherwise, like in a shell.
    pub(crate) fn mentions_hidden(&self) -> bool {
        self.mentions_hidden
    }
}

/// The pattern relative to the root, and whether its start means the root.
fn beneath(workdir: &Workdir, pattern: &str) -> Result<(bool, String), PathError> {
    if names_another_place(pattern) || pattern.split('/').any(|name| name == "..") {
        return Err(PathError::Outside);
    }
    let anchored = pattern.starts_with('/') || pattern.starts_with("./");
    let is_directory = pattern.ends_with('/');
    let mut relative = if pattern.starts_with('/') {
        workdir.relative(pattern)?.to_string_lossy().into_owned()
    } else {
        pattern.trim_end_matches('/').to_owned()
    };
    if is_directory {
        relative.push_str("/**");
    }
    Ok((anchored, relative.strip_prefix("./").unwrap_or(&relative).to_owned()))
}

fn compile(pattern: &str) -> Result<GlobSet, globset::Error> {
    GlobSetBuilder::new().add(GlobBuilder::new(pattern).literal_separator(true).build()?).build()
}

fn spelled_out_ancestors(pattern: &str) -> Vec<String> {
    let is_spelled_out = |name: &&str| !name.contains(['*', '?', '[', ']', '{', '}', '\\']);
    let Some((directories, _)) = pattern.rsplit_once('/') else { return Vec::new() };
    directories.split('/').take_while(is_spelled_out).map(str::to_owned).collect()
}

fn mentions_hidden(pattern: &str) -> bool {
    let mut previous = '/';
    pattern.chars().any(|character| {
        let starts_name = matches!(std::mem::replace(&mut previous, character), '/' | '{' | ',');
        starts_name && character == '.'
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(pattern: &str) -> Result<PathPattern, ToolError> {
        PathPattern::parse(&Workdir::open(Path::new("/usr")).unwrap(), "pattern", pattern)
    }

    #[test]
    fn a_pattern_without_a_slash_is_about_names() {
        let pattern = parse("*.rs").unwrap();
        assert!(pattern.matches(b"a.rs") && pattern.matches(b"src/deep/a.rs") && !pattern.matches(b"a.rs/b"));
        let anchored = parse("./*.rs").unwrap();
        assert!(anchored.matches(b"a.rs") && !anchored.matches(b"src/a.rs"));
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_cross() {
        assert!(!parse("src/*.rs").unwrap().matches(b"src/deep/a.rs"));
        let deep = parse("src/**/*.rs").unwrap();
        assert!(deep.matches(b"src/a.rs") && deep.matches(b"src/x/y/a.rs") && !deep.matches(b"lib/src/a.rs"));
        assert!(parse("src/").unwrap().matches(b"src/x/y"));
        assert!(parse("{src,lib}/*.{rs,toml}").unwrap().matches(b"lib/a.toml"));
    }

    #[test]
    fn absolute_patterns_inside_are_relative_to_the_root() {
        let pattern = parse("/usr/*.rs").unwrap();
        assert!(pattern.matches(b"a.rs") && !pattern.matches(b"src/a.rs"));
        for outside in ["/usrx/*", "/*", "/", "../*", "src/../../*", "~/*", "~", "file:///usr/*"] {
            assert!(parse(outside).unwrap_err().0.starts_with("Access denied"), "{outside}");
        }
    }

    #[test]
    fn only_directories_that_may_hold_a_match_are_entered() {
        let pattern = parse("src/api/**/*.rs").unwrap();
        for entered in ["src", "src/api", "src/api/deep"] {
            assert!(pattern.may_match_inside(entered.as_bytes()), "{entered}");
        }
        for passed in ["srcs", "lib", "src/web"] {
            assert!(!pattern.may_match_inside(passed.as_bytes()), "{passed}");
        }
        assert!(parse("*.rs").unwrap().may_match_inside(b"anything"));
        assert!(parse("{a/b,c}/d").unwrap().may_match_inside(b"c"));
    }

    #[test]
    fn hidden_names_must_be_asked_for() {
        for asks in [".github/**", "**/.env", "{.a,b}", "{a,.b}"] {
            assert!(parse(asks).unwrap().mentions_hidden(), "{asks}");
        }
        for passes in ["**/*.rs", "a.b", "./*.rs", "*"] {
            assert!(!parse(passes).unwrap().mentions_hidden(), "{passes}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for broken in ["", "[", "{a", "a\0b", &"a".repeat(PATTERN_LIMIT_BYTES + 1)] {
            assert!(parse(broken).unwrap_err().0.starts_with("Invalid input: `pattern`"), "{broken}");
        }
    }
}
