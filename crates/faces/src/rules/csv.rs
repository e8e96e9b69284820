//! Results as CSV (RFC 4180), as a stream, with a guard against cells that a spreadsheet would run.

use std::fmt::Write;
use std::io;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engine::{Cell, CellType, QueryRows, ResultColumn};
use futures_util::stream::unfold;

const BYTE_ORDER_MARK: &str = "\u{feff}";
/// What makes a spreadsheet take text for a formula.
const FORMULA_MARKS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// Header and rows, as they come. If they break off, so does the answer: it must not pass for a whole one.
pub(super) fn body(rows: QueryRows, with_mark: bool) -> Body {
    let mut head = if with_mark { BYTE_ORDER_MARK.to_owned() } else { String::new() };
    line(&mut head, rows.columns.iter().map(|column| guarded(&column.name)));
    let columns = rows.columns.clone();
    Body::from_stream(unfold((Some(head), rows, columns), async |(head, mut rows, columns)| {
        if let Some(head) = head {
            return Some((Ok(Bytes::from(head)), (None, rows, columns)));
        }
        let batch = match rows.next().await {
            Ok(batch) => batch?,
            Err(failure) => return Some((Err(io::Error::other(failure.message)), (None, rows, columns))),
        };
        let mut text = String::new();
        for row in &batch {
            line(&mut text, row.iter().zip(&columns).map(|(cell, column)| shown(cell, column)));
        }
        Some((Ok(Bytes::from(text)), (None, rows, columns)))
    }))
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        if cell.contains(['"', ',', '\r', '\n']) {
            // Writing to a string cannot fail.
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            text.push_str(&cell);
        }
    }
    text.push_str("\r\n");
}

fn shown(cell: &Cell, column: &ResultColumn) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(number) => number.to_string(),
        // As JSON has it. What is no number there, is nothing here.
        Cell::Float(number) => serde_json::Number::from_f64(*number).map(|number| number.to_string()).unwrap_or_default(),
        Cell::Bool(flag) => flag.to_string(),
        Cell::Text(text) if column.cell_type == CellType::Decimal && is_number(text) => text.clone(),
        Cell::Text(text) => guarded(text),
        Cell::Bytes(bytes) => guarded(&STANDARD.encode(bytes)),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'e' | b'E' | b'+'))
        && text.parse::<f64>().is_ok()
}

fn guarded(text: &str) -> String {
    if text.starts_with(FORMULA_MARKS) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use engine::{Cell, CellType, ResultColumn};

    use super::{line, shown};

    #[test]
    fn cells_that_a_spreadsheet_would_run_are_text() {
        let text = ResultColumn { name: "a".to_owned(), cell_type: CellType::Text };
        let decimal = ResultColumn { name: "a".to_owned(), cell_type: CellType::Decimal };
        let of = |cell: &str| shown(&Cell::Text(cell.to_owned()), &text);
        for cell in ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx"] {
            assert_eq!(of(cell), format!("'{cell}"));
        }
        assert_eq!(of("plain"), "plain");
        assert_eq!(shown(&Cell::Text("-1.5".to_owned()), &decimal), "-1.5");
        assert_eq!(shown(&Cell::Text("-cmd|' /C calc'!A0".to_owned()), &decimal), "'-cmd|' /C calc'!A0");
        assert_eq!(shown(&Cell::Int(-5), &text), "-5");
        let floats = [(3.0, "3.0"), (-0.5, "-0.5"), (1e300, "1e+300"), (f64::NAN, ""), (f64::INFINITY, "")];
        for (number, expected) in floats {
            assert_eq!(shown(&Cell::Float(number), &text), expected);
        }
        let mut out = String::new();
        line(&mut out, ["a,\"b\"".to_owned(), String::new(), "x\ny".to_owned()].into_iter());
        assert_eq!(out, "\"a,\"\"b\"\"\",,\"x\ny\"\r\n");
    }
}
