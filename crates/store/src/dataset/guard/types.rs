//! The types that a value may be cast to.

use sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectNamePart};

use super::Refusal;

pub(super) fn look(data_type: &DataType) -> Result<(), Refusal> {
    use DataType as T;
    match data_type {
        T::SmallInt(_)
        | T::Int(_)
        | T::Int2(_)
        | T::Int4(_)
        | T::Int8(_)
        | T::Integer(_)
        | T::BigInt(_)
        | T::Numeric(_)
        | T::Decimal(_)
        | T::Dec(_)
        | T::Float(_)
        | T::Float4
        | T::Float8
        | T::Real
        | T::Double(_)
        | T::DoublePrecision
        | T::Text
        | T::Char(_)
        | T::Character(_)
        | T::CharacterVarying(_)
        | T::CharVarying(_)
        | T::Varchar(_)
        | T::Bool
        | T::Boolean
        | T::Date
        | T::Time(..)
        | T::Timestamp(..)
        | T::Interval { .. }
        | T::JSON
        | T::JSONB
        | T::Uuid => Ok(()),
        T::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Qualified(element, _)) => look(element),
        // The parser does not know every spelling.
        T::Custom(name, modifiers) if modifiers.is_empty() => match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] if is_plain(&ident.value) => Ok(()),
            _ => refused(),
        },
        _ => refused(),
    }
}

fn is_plain(name: &str) -> bool {
    ["int", "jsonb", "timestamptz", "timetz", "bpchar"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn refused() -> Result<(), Refusal> {
    Err(Refusal::mistake("type", "a cast to this type is not allowed".to_owned()))
}
