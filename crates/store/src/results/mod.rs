//! Where the rows that rules give are kept: a place of our own, never the data set. The writer never sees SQL from a model:
//! rows come as values, and the names of its columns are no names here (`c1`, `c2`, …) but text in a list.
//!
//! Beside a database in SQLite that is a file; beside one in PostgreSQL it is a schema there, so that every node has the same.

mod file;
mod load;
mod read;
mod schema;

use std::path::Path;

use tokio::sync::mpsc::{Receiver, Sender};

use crate::dataset::{Batch, CellRow, ResultColumn};
use crate::{PostgresUrl, StoreError};
use file::InFile;
use schema::InSchema;

pub use read::{Order, Page};

/// The results of one data set.
#[derive(Debug, Clone)]
pub struct Results {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    File(InFile),
    Schema(Box<InSchema>),
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultTable {
    pub name: String,
    pub columns: Vec<ResultColumn>,
    pub rows: u64,
    /// Of the values.
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub table: ResultTable,
    /// The first rows.
    pub preview: Vec<CellRow>,
}

/// All of this blocks: call it where blocking is allowed.
impl Results {
    /// Opens the file, or makes it. Tables of loads that a crash broke off are removed.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn in_file(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { place: Place::File(InFile::open(path)?) })
    }

    /// Finds the schema in the database, or makes it.
    ///
    /// # Errors
    /// The database cannot be reached, or does not let us.
    pub fn in_postgres(url: &PostgresUrl) -> Result<Self, StoreError> {
        Ok(Self { place: Place::Schema(Box::new(InSchema::open(url)?)) })
    }

    /// Takes batches until there are no more, and keeps them as a table. It counts from the moment that `is_whole` says that
    /// the run came to its end; otherwise nothing is left of it.
    ///
    /// # Errors
    /// The database's; nothing is left then.
    pub fn load(
        &self,
        name: &str,
        created_at: i64,
        preview_rows: usize,
        batches: &mut Receiver<Batch>,
        is_whole: impl FnOnce() -> bool,
    ) -> Result<Option<Loaded>, StoreError> {
        match &self.place {
            Place::File(file) => file.load(name, created_at, preview_rows, batches, is_whole),
            Place::Schema(schema) => schema.load(name, created_at, preview_rows, batches, is_whole),
        }
    }

    /// Sends the columns and then the rows of a table; ends early if nobody takes them.
    ///
    /// # Errors
    /// The database's.
    pub fn send(&self, table: &ResultTable, page: &Page, sender: &Sender<Batch>) -> Result<(), StoreError> {
        match &self.place {
            Place::File(file) => file.send(table, page, sender),
            Place::Schema(schema) => schema.send(table, page, sender),
        }
    }

    /// # Errors
    /// The database's.
    pub fn table(&self, name: &str) -> Result<Option<ResultTable>, StoreError> {
        match &self.place {
            Place::File(file) => file.table(name),
            Place::Schema(schema) => schema.table(name),
        }
    }

    /// Every table, the oldest first.
    ///
    /// # Errors
    /// The database's.
    pub fn tables(&self) -> Result<Vec<ResultTable>, StoreError> {
        match &self.place {
            Place::File(file) => file.tables(),
            Place::Schema(schema) => schema.tables(),
        }
    }

    /// Makes the stable view show this table, under the names that its columns have.
    ///
    /// # Errors
    /// There is no such table; or the database's.
    pub fn show(&self, view: &str, name: &str) -> Result<(), StoreError> {
        match &self.place {
            Place::File(file) => file.show(view, name),
            Place::Schema(schema) => schema.show(view, name),
        }
    }

    /// # Errors
    /// The database's.
    pub fn hide(&self, view: &str) -> Result<(), StoreError> {
        match &self.place {
            Place::File(file) => file.hide(view),
            Place::Schema(schema) => schema.hide(view),
        }
    }

    /// # Errors
    /// The database's.
    pub fn drop_table(&self, name: &str) -> Result<(), StoreError> {
        match &self.place {
            Place::File(file) => file.drop_table(name),
            Place::Schema(schema) => schema.drop_table(name),
        }
    }

    /// Rows of the first table that the second has not, and the other way round, told apart by these columns; `None` if one
    /// of the tables has not all of them.
    ///
    /// # Errors
    /// The database's.
    pub fn difference(&self, new: &ResultTable, old: &ResultTable, keys: &[String]) -> Result<Option<(u64, u64)>, StoreError> {
        match &self.place {
            Place::File(file) => file.difference(new, old, keys),
            Place::Schema(schema) => schema.difference(new, old, keys),
        }
    }
}

fn difference_of(
    new: &ResultTable,
    old: &ResultTable,
    keys: &[String],
    name: impl Fn(&str) -> String,
    count: impl Fn(&str) -> Result<i64, StoreError>,
) -> Result<Option<(u64, u64)>, StoreError> {
    let place = |table: &ResultTable, key: &String| table.columns.iter().position(|column| column.name == *key);
    let columns = |table: &ResultTable| -> Option<String> {
        let places: Option<Vec<usize>> = keys.iter().map(|key| place(table, key)).collect();
        let places = places.filter(|places| !places.is_empty())?;
        // As text, because a column may have got another type.
        Some(places.iter().map(|at| format!("CAST(c{} AS text)", at + 1)).collect::<Vec<_>>().join(", "))
    };
    let (Some(of_new), Some(of_old)) = (columns(new), columns(old)) else { return Ok(None) };
    let (new, old) = (name(&new.name), name(&old.name));
    let rows_of = |text: &str| count(text).map(|rows| u64::try_from(rows).unwrap_or(0));
    let without = |from: &str, columns: &str, other: &str, others: &str| {
        format!("SELECT count(*) FROM (SELECT {columns} FROM {from} EXCEPT SELECT {others} FROM {other}) AS rest")
    };
    let added = rows_of(&without(&new, &of_new, &old, &of_old))?;
    let removed = rows_of(&without(&old, &of_old, &new, &of_new))?;
    Ok(Some((added, removed)))
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
