//! Cells as JSON: what JSON cannot hold exactly is text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Cell, CellType, ResultColumn};
use serde_json::{Map, Value};

/// The largest whole number that every reader of JSON holds exactly.
const MAX_EXACT: i64 = 1 << 53;

/// A row as an object, in the order of the columns.
pub(super) fn object(columns: &[ResultColumn], row: &[Cell]) -> Map<String, Value> {
    columns.iter().zip(row).map(|(column, cell)| (column.name.clone(), value(cell, column.cell_type))).collect()
}

pub(super) fn value(cell: &Cell, cell_type: CellType) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) if (-MAX_EXACT..=MAX_EXACT).contains(number) => Value::from(*number),
        Cell::Int(number) => Value::from(number.to_string()),
        // Not a number, and infinity, have no form in JSON.
        Cell::Float(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Cell::Bool(flag) => Value::from(*flag),
        Cell::Text(text) if cell_type == CellType::Json => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()))
        }
        Cell::Text(text) => Value::from(text.as_str()),
        Cell::Bytes(bytes) => Value::from(STANDARD.encode(bytes)),
    }
}

/// The same, with texts cut for a preview.
pub(super) fn cut_object(columns: &[ResultColumn], row: &[Cell], characters: usize) -> Map<String, Value> {
    let mut object = object(columns, row);
    for value in object.values_mut() {
        if let Value::Array(_) | Value::Object(_) = value {
            let text = value.to_string();
            if text.chars().nth(characters).is_some() {
                *value = Value::from(text);
            }
        }
        if let Value::String(text) = value
            && let Some((end, _)) = text.char_indices().nth(characters)
        {
            text.truncate(end);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use engine::{Cell, CellType, ResultColumn};
    use serde_json::json;

    use super::{cut_object, value};

    #[test]
    fn nothing_is_lost_in_json() {
        for (cell, cell_type, expected) in [
            (Cell::Int(9_007_199_254_740_993), CellType::Integer, json!("9007199254740993")),
            (Cell::Int(-5), CellType::Integer, json!(-5)),
            (Cell::Float(f64::NAN), CellType::Float, json!(null)),
            (Cell::Text("1.50".to_owned()), CellType::Decimal, json!("1.50")),
            (Cell::Text("[1,2]".to_owned()), CellType::Json, json!([1, 2])),
            (Cell::Bytes(vec![0, 255]), CellType::Bytes, json!("AP8=")),
        ] {
            assert_eq!(value(&cell, cell_type), expected);
        }
    }

    #[test]
    fn a_preview_has_no_longer_cells_than_it_may() {
        let columns = [CellType::Text, CellType::Json, CellType::Json]
            .map(|cell_type| ResultColumn { name: cell_type.as_str().to_owned(), cell_type });
        let row = ["aäa", "[1,2,3]", "[]"].map(|text| Cell::Text(text.to_owned()));
        let cut = cut_object(&columns[..2], &row, 2);
        assert_eq!(json!(cut), json!({"text": "aä", "json": "[1"}));
        assert_eq!(json!(cut_object(&columns[2..], &row[2..], 2)), json!({"json": []}));
    }
}
