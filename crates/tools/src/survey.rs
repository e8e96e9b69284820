//! A project at a glance: its languages, the directories near its root, and what it says about itself. Walking fifty
//! thousand files takes a moment, so a map is kept; what it is kept by is read anew each time.

mod languages;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::sockets::surveyor::{Document, Survey, Surveyor};
use domain::sockets::tool::{Hidden, ToolContext, ToolError};
use tokio_util::sync::CancellationToken;

use crate::walk::{Filter, Kind, walk, walk_root};
use crate::work::{Slots, Stop};
use crate::workdir::{Links, Workdir};

/// A walk that takes longer shows what it has seen until then. The first answer waits for it.
const TIME_LIMIT: Duration = Duration::from_millis(1500);

/// How long a map is good as long as nothing near the root has changed.
const GOOD_FOR: Duration = Duration::from_secs(10 * 60);

/// Maps that are kept, each of at most some 60 KB.
const MAPS: usize = 32;

/// Levels of directories that a map shows.
const DEPTH: usize = 2;

/// Lines of a map. More would cost every request of the conversation its tokens.
const TREE_LINES: usize = 200;

/// Languages that are named.
const LANGUAGES: usize = 12;

/// Of what a project says about itself, the beginning says what it is.
const README_BYTES: usize = 6 * 1024;
/// What it says to agents is meant to be read whole.
const GUIDANCE_BYTES: usize = 24 * 1024;

const READMES: [&str; 5] = ["README.md", "README", "README.txt", "README.rst", "readme.md"];
const GUIDANCE: [&str; 2] = ["AGENTS.md", "CLAUDE.md"];

/// Looks projects over.
#[derive(Debug)]
pub struct ProjectSurveyor {
    slots: Slots,
    /// Every turn waits for what its directory says: never behind a walk through another one.
    reads: Slots,
    maps: Arc<Mutex<HashMap<PathBuf, Kept>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    root: Root,
    map: Map,
    made_at: Instant,
}

/// What a map is kept by: names and kinds at the root.
type Root = Vec<(Vec<u8>, bool)>;

#[derive(Debug, Clone, Default)]
struct Map {
    files: u64,
    truncated: bool,
    languages: Vec<(String, u64)>,
    tree: String,
}

impl Default for ProjectSurveyor {
    fn default() -> Self {
        Self { slots: Slots::for_searches(), reads: Slots::for_reads(), maps: Arc::default() }
    }
}

#[async_trait]
impl Surveyor for ProjectSurveyor {
    async fn survey(&self, directory: &Path, hidden: &Hidden) -> Result<Survey, ToolError> {
        let maps = Arc::clone(&self.maps);
        self.slots.run(context(directory, hidden), TIME_LIMIT, move |context, stop| look(&maps, context, stop)).await
    }

    async fn guidance(&self, directory: &Path, hidden: &Hidden) -> Result<Option<Document>, ToolError> {
        let read = |context: &ToolContext, _: &Stop| {
            let workdir = Workdir::of(context).map_err(|error| ToolError(error.to_string()))?;
            Ok(document(&workdir, &GUIDANCE, GUIDANCE_BYTES))
        };
        self.reads.run(context(directory, hidden), TIME_LIMIT, read).await
    }
}

fn context(directory: &Path, hidden: &Hidden) -> ToolContext {
    ToolContext { workdir: directory.to_owned(), hidden: hidden.clone(), cancel: CancellationToken::new() }
}

fn look(maps: &Mutex<HashMap<PathBuf, Kept>>, context: &ToolContext, stop: &Stop) -> Result<Survey, ToolError> {
    let workdir = Workdir::of(context).map_err(|error| ToolError(error.to_string()))?;
    let (readme, guidance) = (document(&workdir, &READMES, README_BYTES), document(&workdir, &GUIDANCE, GUIDANCE_BYTES));
    let root = root(&workdir, stop)?;
    let kept = lock(maps).get(&context.workdir).cloned();
    let Map { files, truncated, languages, tree } = match kept {
        Some(kept) if kept.root == root && kept.made_at.elapsed() < GOOD_FOR => kept.map,
        _ => {
            let map = map(&workdir, stop)?;
            keep(maps, context.workdir.clone(), Kept { root, map: map.clone(), made_at: Instant::now() });
            map
        }
    };
    Ok(Survey { files, truncated, languages, tree, readme, guidance })
}

fn keep(maps: &Mutex<HashMap<PathBuf, Kept>>, directory: PathBuf, kept: Kept) {
    let mut maps = lock(maps);
    if maps.len() >= MAPS && !maps.contains_key(&directory) {
        let oldest = maps.iter().min_by_key(|(_, kept)| kept.made_at).map(|(path, _)| path.clone());
        oldest.map(|oldest| maps.remove(&oldest));
    }
    maps.insert(directory, kept);
}

fn root(workdir: &Workdir, stop: &Stop) -> Result<Root, ToolError> {
    let mut root = Root::new();
    let filter = Filter { hidden: false, enters: &|_| true };
    let listed = walk_root(workdir, &filter, stop, &mut |entry| {
        root.push((entry.path.as_os_str().as_encoded_bytes().to_vec(), entry.kind == Kind::Directory));
        ControlFlow::Continue(())
    });
    listed.map_err(|error| ToolError(error.to_string()))?;
    Ok(root)
}

fn map(workdir: &Workdir, stop: &Stop) -> Result<Map, ToolError> {
    let mut files = 0;
    let mut languages: HashMap<&'static str, u64> = HashMap::new();
    let mut lines: BTreeMap<PathBuf, Option<u64>> = BTreeMap::new();
    let filter = Filter { hidden: false, enters: &|_| true };
    let missed = walk(workdir, &filter, stop, &mut |entry| {
        let depth = entry.path.components().count();
        if entry.kind == Kind::Directory {
            // A directory that holds nothing of interest is not worth a line: it gets one with its first file.
            return ControlFlow::Continue(());
        }
        files += 1;
        if let Some(language) = languages::of(entry.path) {
            *languages.entry(language).or_default() += 1;
        }
        if depth == 1 {
            lines.insert(entry.path.to_owned(), None);
        }
        for ancestor in entry.path.ancestors().skip(1) {
            let level = ancestor.components().count();
            if (1..=DEPTH).contains(&level) {
                *lines.entry(ancestor.to_owned()).or_insert(Some(0)).get_or_insert(0) += 1;
            }
        }
        ControlFlow::Continue(())
    });
    let missed = missed.map_err(|error| ToolError(error.to_string()))?;
    let mut languages: Vec<(String, u64)> = languages.into_iter().map(|(name, files)| (name.to_owned(), files)).collect();
    languages.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    languages.truncate(LANGUAGES);
    Ok(Map { files, truncated: missed.stopped || missed.too_many, languages, tree: tree(&lines) })
}

fn tree(lines: &BTreeMap<PathBuf, Option<u64>>) -> String {
    let mut tree = String::new();
    // Writing to a string does not fail.
    for (path, below) in lines.iter().take(TREE_LINES) {
        let _ = match below {
            Some(files) => writeln!(tree, "{}/ ({files})", crate::report::display(path)),
            None => writeln!(tree, "{}", crate::report::display(path)),
        };
    }
    if let Some(more) = lines.len().checked_sub(TREE_LINES).filter(|more| *more > 0) {
        let _ = writeln!(tree, "[{more} more]");
    }
    tree
}

/// The first of these files that says something.
fn document(workdir: &Workdir, names: &[&str], limit: usize) -> Option<Document> {
    names.iter().find_map(|name| read(workdir, name, limit))
}

fn read(workdir: &Workdir, name: &str, limit: usize) -> Option<Document> {
    let file = workdir.open_file(Path::new(name), Links::Follow).ok()?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains('\0') || text.trim().is_empty() {
        return None;
    }
    let end = text.floor_char_boundary(limit);
    Some(Document { name: name.to_owned(), text: text[..end].to_owned(), truncated: end < text.len() })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[tokio::test]
    async fn a_project_is_seen_at_a_glance() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (path, text) in [
            ("README.md", "# Demo\n"),
            ("CLAUDE.md", "Use tabs.\n"),
            ("src/main.rs", ""),
            ("src/deep/er/x.rs", ""),
            ("web/app.ts", ""),
            ("target/junk.rs", ""),
            (".gitignore", "target\n"),
        ] {
            write(root, path, text);
        }
        let surveyor = ProjectSurveyor::default();
        let survey = surveyor.survey(root, &Hidden::default()).await.unwrap();
        assert_eq!(survey.files, 5);
        assert_eq!(survey.languages[0], ("Markdown".to_owned(), 2));
        assert_eq!(survey.tree, "CLAUDE.md\nREADME.md\nsrc/ (2)\nsrc/deep/ (1)\nweb/ (1)\n");
        assert_eq!(survey.readme.as_ref().unwrap().text, "# Demo\n");
        assert_eq!(survey.guidance.as_ref().unwrap().name, "CLAUDE.md");
        assert_eq!(surveyor.survey(root, &Hidden::default()).await.unwrap(), survey);

        write(root, "AGENTS.md", "Use spaces.\n");
        write(root, "README.md", &"x".repeat(100_000));
        let later = surveyor.survey(root, &Hidden::default()).await.unwrap();
        assert_eq!((later.files, later.guidance.unwrap().text.as_str()), (6, "Use spaces.\n"));
        assert_eq!(surveyor.guidance(root, &Hidden::default()).await.unwrap().unwrap().text, "Use spaces.\n");
        assert!(later.readme.as_ref().unwrap().truncated && later.readme.unwrap().text.len() == README_BYTES);
    }
}
