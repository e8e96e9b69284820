//! Reading what is kept in a file, a page at a time or as a stream.

use rusqlite::types::ValueRef;
use tokio::sync::mpsc::Sender;

use super::file::InFile;
use super::{ResultTable, quoted};
use crate::StoreError;
use crate::dataset::{BATCH_ROWS, Batch, Cell, CellRow, CellType};
use crate::sqlite::failure;

/// By which column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub column: String,
    pub descending: bool,
}

impl Order {
    /// The number of the column from 1, its type, and the direction as SQL has it; `None`: there is no such column.
    pub(super) fn place_in(&self, table: &ResultTable) -> Option<(usize, CellType, &'static str)> {
        let at = table.columns.iter().position(|column| column.name == self.column)?;
        Some((at + 1, table.columns[at].cell_type, if self.descending { "DESC" } else { "ASC" }))
    }
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// `None`: all.
    pub limit: Option<u64>,
    pub offset: u64,
    pub order: Option<Order>,
}

impl InFile {
    /// # Errors
    /// The database's.
    pub(super) fn send(&self, table: &ResultTable, page: &Page, sender: &Sender<Batch>) -> Result<(), StoreError> {
        if sender.blocking_send(Batch::Columns(table.columns.clone())).is_err() {
            return Ok(());
        }
        let text = select(table, page);
        let connection = self.reader()?;
        let mut statement = connection.prepare(&text).map_err(|error| failure(&error))?;
        let mut rows = statement.raw_query();
        let mut batch: Vec<CellRow> = Vec::new();
        while let Some(row) = rows.next().map_err(|error| failure(&error))? {
            let cells = table.columns.iter().enumerate().map(|(at, column)| Ok(cell(row.get_ref(at)?, column.cell_type)));
            batch.push(cells.collect::<rusqlite::Result<_>>().map_err(|error| failure(&error))?);
            if batch.len() == BATCH_ROWS && sender.blocking_send(Batch::Rows(std::mem::take(&mut batch))).is_err() {
                return Ok(());
            }
        }
        if !batch.is_empty() {
            // Nobody takes them any more: there is nobody to tell either.
            let _ = sender.blocking_send(Batch::Rows(batch));
        }
        Ok(())
    }
}

fn select(table: &ResultTable, page: &Page) -> String {
    let columns: Vec<String> = (1..=table.columns.len()).map(|at| format!("c{at}")).collect();
    let order = match page.order.as_ref().and_then(|order| order.place_in(table)) {
        // Decimals are kept as text, so that none of their digits is lost.
        Some((at, CellType::Decimal, direction)) => format!("CAST(c{at} AS REAL) {direction}, rowid"),
        Some((at, _, direction)) => format!("c{at} {direction}, rowid"),
        None => "rowid".to_owned(),
    };
    let limit = page.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let name = quoted(&table.name);
    format!("SELECT {} FROM {name} ORDER BY {order} LIMIT {limit} OFFSET {}", columns.join(", "), page.offset)
}

fn cell(value: ValueRef<'_>, cell_type: CellType) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number @ (0 | 1)) if cell_type == CellType::Boolean => Cell::Bool(number == 1),
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(number) => Cell::Float(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}
