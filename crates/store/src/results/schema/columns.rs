//! How the values of a result's column are stored, sent and read.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::dataset::{Cell, CellRow, CellType};

/// The type of a column in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    Integer,
    Float,
    Boolean,
    Decimal,
    Bytes,
    /// Also for what fits none of the others.
    Text,
}

impl Storage {
    pub(super) const fn of(cell_type: CellType) -> Self {
        match cell_type {
            CellType::Integer => Self::Integer,
            CellType::Float => Self::Float,
            CellType::Boolean => Self::Boolean,
            CellType::Decimal => Self::Decimal,
            CellType::Bytes => Self::Bytes,
            CellType::Text | CellType::Date | CellType::Timestamp | CellType::Json => Self::Text,
        }
    }

    /// As the database tells it.
    pub(super) const fn read(type_: &Type) -> Self {
        match *type_ {
            Type::INT8 => Self::Integer,
            Type::FLOAT8 => Self::Float,
            Type::BOOL => Self::Boolean,
            Type::NUMERIC => Self::Decimal,
            Type::BYTEA => Self::Bytes,
            _ => Self::Text,
        }
    }

    pub(super) const fn sql_type(self) -> &'static str {
        match self {
            Self::Integer => "bigint",
            Self::Float => "double precision",
            Self::Boolean => "boolean",
            Self::Decimal => "numeric",
            Self::Bytes => "bytea",
            Self::Text => "text",
        }
    }

    /// The type in which values go to the server, and
    pub(super) const fn travels_as(self) -> &'static str {
        match self {
            Self::Decimal => "text",
            Self::Integer | Self::Float | Self::Boolean | Self::Bytes | Self::Text => self.sql_type(),
        }
    }

    /// what makes them what they are stored as.
    pub(super) const fn cast(self) -> &'static str {
        if matches!(self, Self::Decimal) { "::numeric" } else { "" }
    }

    pub(super) const fn read_as(self) -> &'static str {
        if matches!(self, Self::Decimal) { "::text" } else { "" }
    }

    pub(super) fn takes(self, cell: &Cell) -> bool {
        match (self, cell) {
            (_, Cell::Null)
            | (Self::Text, _)
            | (Self::Integer, Cell::Int(_))
            | (Self::Float, Cell::Float(_))
            | (Self::Boolean, Cell::Bool(_))
            | (Self::Bytes, Cell::Bytes(_)) => true,
            (Self::Decimal, Cell::Text(text)) => is_decimal(text),
            (Self::Integer | Self::Float | Self::Boolean | Self::Bytes | Self::Decimal, _) => false,
        }
    }

    /// One column of these rows, as an array.
    pub(super) fn column(self, rows: &[CellRow], at: usize) -> Box<dyn ToSql + Sync> {
        let cells = rows.iter().map(|row| row.get(at).unwrap_or(&Cell::Null));
        match self {
            Self::Integer => {
                Box::new(cells.map(|cell| if let Cell::Int(number) = cell { Some(*number) } else { None }).collect::<Vec<_>>())
            }
            Self::Float => {
                Box::new(cells.map(|cell| if let Cell::Float(number) = cell { Some(*number) } else { None }).collect::<Vec<_>>())
            }
            Self::Boolean => {
                Box::new(cells.map(|cell| if let Cell::Bool(flag) = cell { Some(*flag) } else { None }).collect::<Vec<_>>())
            }
            Self::Bytes => Box::new(
                cells.map(|cell| if let Cell::Bytes(bytes) = cell { Some(bytes.clone()) } else { None }).collect::<Vec<_>>(),
            ),
            Self::Decimal | Self::Text => Box::new(cells.map(text_of).collect::<Vec<_>>()),
        }
    }
}

fn text_of(cell: &Cell) -> Option<String> {
    Some(match cell {
        Cell::Null => return None,
        Cell::Int(number) => number.to_string(),
        Cell::Float(number) => format!("{number:?}"),
        Cell::Bool(flag) => flag.to_string(),
        // PostgreSQL knows no such character.
        Cell::Text(text) => text.replace('\0', "\u{fffd}"),
        Cell::Bytes(bytes) => bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    })
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole) && all_digits(rest)
}

/// Column number `at`, from 0.
pub(super) fn cell(row: &Row, at: usize, stored: Storage, cell_type: CellType) -> Result<Cell, tokio_postgres::Error> {
    let cell = match stored {
        Storage::Integer => row.try_get::<_, Option<i64>>(at)?.map(Cell::Int),
        Storage::Float => row.try_get::<_, Option<f64>>(at)?.map(Cell::Float),
        Storage::Boolean => row.try_get::<_, Option<bool>>(at)?.map(Cell::Bool),
        Storage::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Cell::Bytes),
        Storage::Decimal => row.try_get::<_, Option<String>>(at)?.map(Cell::Text),
        Storage::Text => row.try_get::<_, Option<String>>(at)?.map(|text| told(text, cell_type)),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

/// What was stored as text only because something else in its column was none of these.
fn told(text: String, cell_type: CellType) -> Cell {
    let number = || text.parse().map(Cell::Int).or_else(|_| text.parse().map(Cell::Float));
    match cell_type {
        CellType::Integer | CellType::Float => number().unwrap_or(Cell::Text(text)),
        CellType::Boolean => text.parse().map_or(Cell::Text(text), Cell::Bool),
        CellType::Decimal | CellType::Text | CellType::Date | CellType::Timestamp | CellType::Json | CellType::Bytes => {
            Cell::Text(text)
        }
    }
}
