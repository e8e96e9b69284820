//! PostgreSQL's values, as its text form spells them.

use serde_json::Value;
use tokio_postgres::types::{Kind, Type};

use super::run::{Cell, CellType};

pub(super) fn cell_type(kind: &Type) -> CellType {
    match *kind {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => CellType::Integer,
        Type::FLOAT4 | Type::FLOAT8 => CellType::Float,
        Type::NUMERIC => CellType::Decimal,
        Type::BOOL => CellType::Boolean,
        Type::DATE => CellType::Date,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => CellType::Timestamp,
        Type::JSON | Type::JSONB => CellType::Json,
        Type::BYTEA => CellType::Bytes,
        _ if matches!(kind.kind(), Kind::Array(_)) => CellType::Json,
        _ => CellType::Text,
    }
}

/// What the elements of an array are.
pub(super) fn element_type(kind: &Type) -> Option<CellType> {
    match kind.kind() {
        Kind::Array(element) => Some(cell_type(element)),
        _ => None,
    }
}

/// `element` is given for arrays, which are told as JSON.
pub(super) fn cell(text: Option<&str>, cell_type: CellType, element: Option<CellType>) -> Cell {
    let Some(text) = text else { return Cell::Null };
    if let Some(element) = element {
        return Cell::Text(array(text, element).unwrap_or_else(|| text.to_owned()));
    }
    let as_text = || Cell::Text(text.to_owned());
    match cell_type {
        CellType::Integer => text.parse().map_or_else(|_| as_text(), Cell::Int),
        CellType::Float => match text.parse::<f64>() {
            Ok(number) if number.is_nan() => Cell::Null,
            Ok(number) => Cell::Float(number),
            Err(_) => as_text(),
        },
        CellType::Decimal if text == "NaN" => Cell::Null,
        CellType::Boolean => Cell::Bool(text == "t"),
        CellType::Timestamp => Cell::Text(timestamp(text)),
        CellType::Bytes => text.strip_prefix("\\x").and_then(bytes).map_or_else(as_text, Cell::Bytes),
        CellType::Json | CellType::Decimal | CellType::Text | CellType::Date => as_text(),
    }
}

/// `2025-01-14 09:00:00` becomes `2025-01-14T09:00:00`, and `+00` at its end `Z`.
fn timestamp(text: &str) -> String {
    let text = text.replacen(' ', "T", 1);
    match text.strip_suffix("+00") {
        Some(in_utc) => format!("{in_utc}Z"),
        None => text,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

/// `{a,"b c",NULL}` as JSON. Arrays of arrays stay as PostgreSQL writes them.
fn array(text: &str, element: CellType) -> Option<String> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let mut item = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        while let Some(char) = chars.next() {
            match char {
                '"' if quoted => break,
                '\\' if quoted => item.extend(chars.next()),
                ',' if !quoted => break,
                '{' if !quoted => return None,
                other => item.push(other),
            }
        }
        if quoted {
            chars.next_if_eq(&',');
        }
        items.push(if item == "NULL" && !quoted { Value::Null } else { in_json(cell(Some(&item), element, None)) });
    }
    serde_json::to_string(&items).ok()
}

fn in_json(cell: Cell) -> Value {
    /// The largest whole number that every reader of JSON holds exactly.
    const MAX_EXACT: i64 = 1 << 53;
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(number) if (-MAX_EXACT..=MAX_EXACT).contains(&number) => Value::from(number),
        Cell::Int(number) => Value::from(number.to_string()),
        Cell::Float(number) => Value::from(number),
        Cell::Bool(flag) => Value::from(flag),
        Cell::Text(text) => Value::from(text),
        // As the numbers they are.
        Cell::Bytes(bytes) => Value::from(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::{Cell, CellType};
    use super::cell;

    #[test]
    fn values_are_told_as_the_contract_does() {
        let text = |text: &str| Cell::Text(text.to_owned());
        for (written, kind, expected) in [
            ("12", CellType::Integer, Cell::Int(12)),
            ("1.50", CellType::Decimal, text("1.50")),
            ("NaN", CellType::Decimal, Cell::Null),
            ("NaN", CellType::Float, Cell::Null),
            ("t", CellType::Boolean, Cell::Bool(true)),
            ("2025-01-14", CellType::Date, text("2025-01-14")),
            ("2025-01-14 09:00:00", CellType::Timestamp, text("2025-01-14T09:00:00")),
            ("2025-01-14 09:00:00+00", CellType::Timestamp, text("2025-01-14T09:00:00Z")),
            ("\\x00ff", CellType::Bytes, Cell::Bytes(vec![0, 255])),
            ("{\"a\": 1}", CellType::Json, text("{\"a\": 1}")),
        ] {
            assert_eq!(cell(Some(written), kind, None), expected, "{written}");
        }
        assert_eq!(cell(None, CellType::Text, None), Cell::Null);
    }

    #[test]
    fn elements_of_arrays_are_what_their_type_says() {
        for (written, element, expected) in [
            ("{a,\"b, c\",NULL,3}", CellType::Text, r#"["a","b, c",null,"3"]"#),
            ("{1,NULL,9007199254740993}", CellType::Integer, r#"[1,null,"9007199254740993"]"#),
            ("{1.5,2}", CellType::Float, "[1.5,2.0]"),
            ("{1.50}", CellType::Decimal, r#"["1.50"]"#),
            ("{t,f}", CellType::Boolean, "[true,false]"),
            ("{\"2025-01-14 09:00:00\"}", CellType::Timestamp, r#"["2025-01-14T09:00:00"]"#),
            ("{}", CellType::Text, "[]"),
            ("{{1,2},{3,4}}", CellType::Integer, "{{1,2},{3,4}}"),
        ] {
            let expected = Cell::Text(expected.to_owned());
            assert_eq!(cell(Some(written), CellType::Json, Some(element)), expected, "{written}");
        }
    }
}
