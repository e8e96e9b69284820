//! Expressions: a list of node kinds that are allowed.

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DateTimeField, Expr, Ident, Interval, ObjectName,
    Subscript, TypedString, UnaryOperator, Value, ValueWithSpan,
};

use super::Refusal;
use super::query::Walk;
use super::types;

impl Walk<'_> {
    pub(super) fn exprs(&mut self, exprs: &mut [Expr]) -> Result<(), Refusal> {
        exprs.iter_mut().try_for_each(|expr| self.expr(expr))
    }

    pub(super) fn expr(&mut self, expr: &mut Expr) -> Result<(), Refusal> {
        self.deeper(|walk| walk.one(expr))
    }

    fn all<const N: usize>(&mut self, exprs: [&mut Expr; N]) -> Result<(), Refusal> {
        exprs.into_iter().try_for_each(|expr| self.expr(expr))
    }

    fn maybe(&mut self, expr: &mut Option<Box<Expr>>) -> Result<(), Refusal> {
        expr.as_mut().map_or(Ok(()), |expr| self.expr(expr))
    }

    fn one(&mut self, expr: &mut Expr) -> Result<(), Refusal> {
        match expr {
            Expr::Identifier(ident) => self.name(ident).map(drop),
            Expr::CompoundIdentifier(idents) => self.compound(idents),
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner) => self.expr(inner),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => self.all([left, right]),
            Expr::InList { expr, list, negated: _ } => {
                self.expr(expr)?;
                self.exprs(list)
            }
            Expr::InSubquery { expr, subquery, negated: _ } => {
                self.expr(expr)?;
                self.query(subquery)
            }
            Expr::Between { expr, negated: _, low, high } => self.all([expr, low, high]),
            Expr::BinaryOp { left, op, right } => {
                self.operator(op)?;
                self.all([left, right])
            }
            Expr::Like { negated: _, any: false, expr, pattern, escape_char } => {
                self.all([expr, pattern])?;
                self.maybe(escape_char)
            }
            Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not, expr } => self.expr(expr),
            Expr::Cast { kind: kind @ (CastKind::Cast | CastKind::DoubleColon), expr, data_type, format: None } => {
                if *kind == CastKind::DoubleColon && !self.is_postgres() {
                    return Err(Refusal::unsupported("the operator ::"));
                }
                types::look(data_type)?;
                self.expr(expr)
            }
            Expr::Collate { expr, collation } => {
                self.collation(collation)?;
                self.expr(expr)
            }
            Expr::Value(value) => literal(value),
            Expr::Function(function) => self.function(function),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.maybe(operand)?;
                conditions.iter_mut().try_for_each(|CaseWhen { condition, result }| self.all([condition, result]))?;
                self.maybe(else_result)
            }
            Expr::Exists { subquery, negated: _ } | Expr::Subquery(subquery) => self.query(subquery),
            Expr::Tuple(values) => self.exprs(values),
            Expr::Substring { .. } | Expr::Trim { .. } => self.string_form(expr),
            _ if self.is_postgres() => self.postgres(expr),
            _ => Err(Refusal::unsupported("this form of an expression")),
        }
    }

    fn string_form(&mut self, expr: &mut Expr) -> Result<(), Refusal> {
        match expr {
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.functions.insert("substring".to_owned());
                self.expr(expr)?;
                self.maybe(substring_from)?;
                self.maybe(substring_for)
            }
            Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                self.functions.insert("trim".to_owned());
                self.expr(expr)?;
                self.maybe(trim_what)?;
                trim_characters.as_mut().map_or(Ok(()), |characters| self.exprs(characters))
            }
            _ => Err(Refusal::unsupported("this form of an expression")),
        }
    }

    /// What only PostgreSQL has.
    fn postgres(&mut self, expr: &mut Expr) -> Result<(), Refusal> {
        match expr {
            Expr::ILike { negated: _, any: false, expr, pattern, escape_char }
            | Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
                self.all([expr, pattern])?;
                self.maybe(escape_char)
            }
            Expr::AnyOp { left, compare_op, right, is_some: _ } | Expr::AllOp { left, compare_op, right } => {
                self.operator(compare_op)?;
                self.all([left, right])
            }
            Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => self.expr(expr),
            Expr::AtTimeZone { timestamp, time_zone } => self.all([timestamp, time_zone]),
            Expr::Extract { field, syntax: _, expr } => {
                self.functions.insert("extract".to_owned());
                plain_field(field)?;
                self.expr(expr)
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.functions.insert("ceil".to_owned());
                self.expr(expr)
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.functions.insert("floor".to_owned());
                self.expr(expr)
            }
            Expr::Position { expr, r#in } => {
                self.functions.insert("position".to_owned());
                self.all([expr, r#in])
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.functions.insert("overlay".to_owned());
                self.all([expr, overlay_what, overlay_from])?;
                self.maybe(overlay_for)
            }
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }) => {
                types::look(data_type)?;
                literal(value)
            }
            Expr::Interval(Interval {
                value,
                leading_field,
                leading_precision: _,
                last_field,
                fractional_seconds_precision: _,
            }) => {
                for field in [leading_field, last_field].into_iter().flatten() {
                    plain_field(field)?;
                }
                match &**value {
                    Expr::Value(value) => literal(value),
                    _ => Err(Refusal::unsupported("an interval that is no literal")),
                }
            }
            Expr::Array(Array { elem, named: _ }) => self.exprs(elem),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                sets.iter_mut().try_for_each(|set| self.exprs(set))
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expr(root)?;
                access_chain.iter_mut().try_for_each(|access| self.subscript(access))
            }
            _ => Err(Refusal::unsupported("this form of an expression")),
        }
    }

    fn subscript(&mut self, access: &mut AccessExpr) -> Result<(), Refusal> {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => self.expr(index),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                [lower_bound, upper_bound].into_iter().flatten().try_for_each(|bound| self.expr(bound))
            }
            AccessExpr::Subscript(Subscript::Slice { .. }) | AccessExpr::Dot(_) => Err(Refusal::unsupported("this subscript")),
        }
    }

    fn operator(&self, op: &BinaryOperator) -> Result<(), Refusal> {
        use BinaryOperator as Op;
        let both = matches!(
            op,
            Op::Plus
                | Op::Minus
                | Op::Multiply
                | Op::Divide
                | Op::Modulo
                | Op::StringConcat
                | Op::Gt
                | Op::Lt
                | Op::GtEq
                | Op::LtEq
                | Op::Eq
                | Op::NotEq
                | Op::And
                | Op::Or
                | Op::BitwiseOr
                | Op::BitwiseAnd
        );
        let postgres = matches!(
            op,
            Op::PGExp
                | Op::PGRegexMatch
                | Op::PGRegexIMatch
                | Op::PGRegexNotMatch
                | Op::PGRegexNotIMatch
                | Op::Arrow
                | Op::LongArrow
                | Op::HashArrow
                | Op::HashLongArrow
                | Op::AtArrow
                | Op::ArrowAt
                | Op::PGOverlap
        );
        if both || (postgres && self.is_postgres()) { Ok(()) } else { Err(Refusal::unsupported(&format!("the operator {op}"))) }
    }

    /// Only those that are known to order text and do nothing else.
    fn collation(&mut self, collation: &mut ObjectName) -> Result<(), Refusal> {
        let parts = self.parts(collation)?;
        let known: &[&str] = if self.is_postgres() { &["C", "POSIX"] } else { &["nocase", "binary", "rtrim"] };
        match parts.as_slice() {
            [name] if known.iter().any(|known| self.schema.same(known, name)) => Ok(()),
            _ => Err(Refusal::unsupported("this collation")),
        }
    }
}

/// Plain text in single quotes, numbers, true, false and null. Other spellings of text have escapes of their own.
fn literal(value: &ValueWithSpan) -> Result<(), Refusal> {
    match &value.value {
        Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => Ok(()),
        Value::Placeholder(_) => Err(Refusal::forbidden("statement", "parameters are not allowed".to_owned())),
        _ => Err(Refusal::unsupported("this form of a literal")),
    }
}

fn plain_field(field: &DateTimeField) -> Result<(), Refusal> {
    let odd = |ident: &Ident| ident.quote_style.is_some() || !ident.value.chars().all(|char| char.is_ascii_alphabetic());
    match field {
        DateTimeField::Custom(ident) if odd(ident) => Err(Refusal::unsupported("this part of a date")),
        DateTimeField::Week(Some(_)) => Err(Refusal::unsupported("this part of a date")),
        _ => Ok(()),
    }
}
