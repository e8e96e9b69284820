//! Calls of functions, wherever they stand: default deny.

use sqlparser::ast::{
    Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, WindowFrame, WindowFrameBound, WindowSpec, WindowType,
};

use super::query::Walk;
use super::{Class, Refusal};
use crate::dataset::functions;
use crate::dataset::schema::Engine;

impl Walk<'_> {
    pub(super) fn function(&mut self, function: &mut Function) -> Result<(), Refusal> {
        let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment: _, over } = function;
        if *uses_odbc_syntax || *parameters != FunctionArguments::None {
            return Err(Refusal::unsupported("this form of a call"));
        }
        let called = self.called(name)?;
        match args {
            // `current_date` is no call in parentheses.
            FunctionArguments::None if functions::is_keyword_form(&called) => {}
            FunctionArguments::None => return Err(Refusal::function(&called)),
            FunctionArguments::Subquery(_) => return Err(Refusal::unsupported("a query as the only argument")),
            FunctionArguments::List(list) => self.arguments(list)?,
        }
        self.ordered(within_group)?;
        if let Some(filter) = filter {
            self.expr(filter)?;
        }
        match over {
            None => Ok(()),
            Some(WindowType::NamedWindow(name)) => self.name(name).map(drop),
            Some(WindowType::WindowSpec(spec)) => self.window(spec),
        }
    }

    /// A function of the list, without a schema or with PostgreSQL's own; it is then written with it, so that no function of
    /// the same name elsewhere can step in.
    pub(super) fn called(&mut self, name: &mut ObjectName) -> Result<String, Refusal> {
        let quoted = |part: &ObjectNamePart| matches!(part, ObjectNamePart::Identifier(Ident { quote_style: Some(_), .. }));
        let is_quoted = name.0.last().is_some_and(quoted);
        let parts = raw_parts(name)?;
        let written = parts.join(".");
        let postgres = self.schema.engine == Engine::Postgres;
        let (schema, function) = match parts.as_slice() {
            [function] => (None, function),
            [schema, function] if postgres => (Some(schema.to_lowercase()), function),
            _ => return Err(Refusal { class: Class::Forbidden, ..Refusal::function(&written) }),
        };
        if schema.is_some_and(|schema| schema != "pg_catalog") {
            return Err(Refusal { class: Class::Forbidden, ..Refusal::function(&written) });
        }
        let folded = if postgres && is_quoted { function.clone() } else { function.to_ascii_lowercase() };
        if !functions::is_allowed(self.schema.engine, &folded) {
            return Err(Refusal::function(&folded));
        }
        let own = ObjectNamePart::Identifier(Ident::new(folded.as_str()));
        name.0 = if postgres && !functions::is_keyword_form(&folded) {
            vec![ObjectNamePart::Identifier(Ident::new("pg_catalog")), own]
        } else {
            vec![own]
        };
        self.functions.insert(folded.clone());
        Ok(folded)
    }

    fn arguments(&mut self, list: &mut FunctionArgumentList) -> Result<(), Refusal> {
        let FunctionArgumentList { duplicate_treatment: _, args, clauses } = list;
        for arg in args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(expr)?,
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
                FunctionArg::Unnamed(FunctionArgExpr::WildcardWithOptions(options)) => self.wildcard(options)?,
                _ => return Err(Refusal::unsupported("this form of an argument")),
            }
        }
        clauses.iter_mut().try_for_each(|clause| match clause {
            FunctionArgumentClause::OrderBy(columns) => self.ordered(columns),
            _ => Err(Refusal::unsupported("this clause within a call")),
        })
    }

    pub(super) fn window(&mut self, spec: &mut WindowSpec) -> Result<(), Refusal> {
        let WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
        if let Some(name) = window_name {
            self.name(name)?;
        }
        self.exprs(partition_by)?;
        self.ordered(order_by)?;
        let Some(WindowFrame { units: _, start_bound, end_bound }) = window_frame else { return Ok(()) };
        for bound in [Some(start_bound), end_bound.as_mut()].into_iter().flatten() {
            match bound {
                WindowFrameBound::Preceding(Some(rows)) | WindowFrameBound::Following(Some(rows)) => self.expr(rows)?,
                WindowFrameBound::CurrentRow | WindowFrameBound::Preceding(None) | WindowFrameBound::Following(None) => {}
            }
        }
        Ok(())
    }
}

/// As they are written; the list decides.
fn raw_parts(name: &ObjectName) -> Result<Vec<String>, Refusal> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(ident.value.clone()),
            ObjectNamePart::Function(_) => Err(Refusal::unsupported("a name made by a function")),
        })
        .collect()
}
