//! Queries, at any depth: their clauses, and which of them are allowed.

use std::collections::BTreeSet;

use sqlparser::ast::{
    Cte, Distinct, Fetch, GroupByExpr, LimitClause, NamedWindowDefinition, NamedWindowExpr, OrderBy, OrderByExpr, OrderByKind,
    Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetQuantifier, TableAlias, Values,
    WildcardAdditionalOptions, With,
};

use super::Refusal;
use crate::dataset::schema::{Engine, Schema};

/// By the contract.
const MAX_QUERY_DEPTH: usize = 64;
/// Nodes above a node. SQLite itself allows 200.
const MAX_DEPTH: usize = 250;

/// One look at a whole statement.
pub(super) struct Walk<'a> {
    pub(super) schema: &'a Schema,
    /// `WITH` names that may be used here, innermost last.
    pub(super) in_scope: Vec<String>,
    /// All `WITH` names of the statement: none is used twice.
    names: BTreeSet<String>,
    query_depth: usize,
    depth: usize,
    pub(super) relations: BTreeSet<String>,
    pub(super) functions: BTreeSet<String>,
    /// In lower case.
    pub(super) identifiers: BTreeSet<String>,
    /// A `*` reads every column.
    pub(super) everything: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self {
            schema,
            in_scope: Vec::new(),
            names: BTreeSet::new(),
            query_depth: 0,
            depth: 0,
            relations: BTreeSet::new(),
            functions: BTreeSet::new(),
            identifiers: BTreeSet::new(),
            everything: false,
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.schema.engine == Engine::Postgres
    }

    /// Looks at something that may hold others of its kind.
    pub(super) fn deeper<T>(&mut self, look: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refusal::too_deep());
        }
        let result = look(self);
        self.depth -= 1;
        result
    }

    pub(super) fn query(&mut self, query: &mut Query) -> Result<(), Refusal> {
        self.query_depth += 1;
        if self.query_depth > MAX_QUERY_DEPTH {
            return Err(Refusal::too_deep());
        }
        let outer = self.in_scope.len();
        self.deeper(|walk| walk.clauses(query))?;
        self.in_scope.truncate(outer);
        self.query_depth -= 1;
        Ok(())
    }

    fn clauses(&mut self, query: &mut Query) -> Result<(), Refusal> {
        let Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } =
            query;
        if !locks.is_empty() {
            return Err(Refusal::forbidden("statement", "locks are not allowed".to_owned()));
        }
        if for_clause.is_some() || settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            return Err(Refusal::unsupported("a clause of another dialect"));
        }
        if let Some(with) = with {
            self.with(with)?;
        }
        self.body(body)?;
        if let Some(order_by) = order_by {
            self.order_by(order_by)?;
        }
        if let Some(limit) = limit_clause {
            self.limit(limit)?;
        }
        match fetch {
            None => Ok(()),
            Some(Fetch { with_ties: _, percent: false, quantity }) if self.schema.engine == Engine::Postgres => {
                quantity.as_mut().map_or(Ok(()), |quantity| self.expr(quantity))
            }
            Some(_) => Err(Refusal::unsupported("FETCH")),
        }
    }

    fn with(&mut self, with: &mut With) -> Result<(), Refusal> {
        let With { with_token: _, recursive, cte_tables } = with;
        for cte in cte_tables.iter_mut() {
            let Cte { alias, query: _, from, materialized: _, closing_paren_token: _ } = cte;
            if from.is_some() {
                return Err(Refusal::unsupported("FROM behind a WITH name"));
            }
            self.alias(alias)?;
            self.declare(&alias.name.value)?;
        }
        if *recursive {
            self.in_scope.extend(cte_tables.iter().map(|cte| cte.alias.name.value.clone()));
        }
        for cte in cte_tables {
            self.query(&mut cte.query)?;
            if !*recursive {
                self.in_scope.push(cte.alias.name.value.clone());
            }
        }
        Ok(())
    }

    /// An inner name must never vouch for an outer relation.
    fn declare(&mut self, name: &str) -> Result<(), Refusal> {
        let folded = name.to_lowercase();
        let reserved = ["pg_", "sqlite_", "pragma_"].iter().any(|start| folded.starts_with(start));
        let is_relation = self.schema.relations.iter().any(|relation| relation.name.to_lowercase() == folded);
        if reserved || is_relation {
            return Err(Refusal::mistake("relation", format!("the WITH name {name} is the name of a relation")));
        }
        if !self.names.insert(folded) {
            return Err(Refusal::mistake("relation", format!("the WITH name {name} is used twice")));
        }
        Ok(())
    }

    pub(super) fn alias(&mut self, alias: &mut TableAlias) -> Result<(), Refusal> {
        let TableAlias { explicit: _, name, columns, at } = alias;
        if at.is_some() {
            return Err(Refusal::unsupported("AT behind an alias"));
        }
        self.name(name)?;
        for column in columns {
            if column.data_type.is_some() {
                return Err(Refusal::unsupported("a type in an alias"));
            }
            self.name(&mut column.name)?;
        }
        Ok(())
    }

    fn body(&mut self, body: &mut SetExpr) -> Result<(), Refusal> {
        self.deeper(|walk| match body {
            SetExpr::Select(select) => walk.select(select),
            SetExpr::Query(query) => walk.query(query),
            SetExpr::SetOperation {
                left,
                op: _,
                set_quantifier: SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None,
                right,
            } => {
                walk.body(left)?;
                walk.body(right)
            }
            SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows }) => {
                rows.iter_mut().try_for_each(|row| row.iter_mut().try_for_each(|value| walk.expr(value)))
            }
            SetExpr::SetOperation { .. } | SetExpr::Values(_) => Err(Refusal::unsupported("a clause of another dialect")),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
                Err(Refusal::only_a_query())
            }
        })
    }

    fn select(&mut self, select: &mut Select) -> Result<(), Refusal> {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        if into.is_some() {
            return Err(Refusal::forbidden("statement", "INTO is not allowed".to_owned()));
        }
        let foreign = !optimizer_hints.is_empty()
            || select_modifiers.is_some()
            || top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || qualify.is_some()
            || value_table_mode.is_some()
            || *flavor != SelectFlavor::Standard;
        if foreign {
            return Err(Refusal::unsupported("a clause of another dialect"));
        }
        for table in from {
            self.table_with_joins(table)?;
        }
        match distinct {
            Some(Distinct::On(columns)) if self.schema.engine == Engine::Postgres => self.exprs(columns)?,
            Some(Distinct::On(_)) => return Err(Refusal::unsupported("DISTINCT ON")),
            Some(Distinct::All | Distinct::Distinct) | None => {}
        }
        for item in projection {
            self.item(item)?;
        }
        for condition in [selection, having].into_iter().flatten() {
            self.expr(condition)?;
        }
        match group_by {
            GroupByExpr::Expressions(columns, modifiers) if modifiers.is_empty() => self.exprs(columns)?,
            GroupByExpr::Expressions(..) | GroupByExpr::All(_) => return Err(Refusal::unsupported("this GROUP BY")),
        }
        for NamedWindowDefinition(name, window) in named_window {
            self.name(name)?;
            match window {
                NamedWindowExpr::NamedWindow(name) => drop(self.name(name)?),
                NamedWindowExpr::WindowSpec(spec) => self.window(spec)?,
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &mut SelectItem) -> Result<(), Refusal> {
        match item {
            SelectItem::UnnamedExpr(expr) => self.expr(expr),
            SelectItem::ExprWithAlias { expr, alias } => {
                self.expr(expr)?;
                self.name(alias).map(drop)
            }
            SelectItem::Wildcard(options) => self.wildcard(options),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let parts = self.parts(name)?;
                match parts.as_slice() {
                    [_] => {}
                    [schema, relation]
                        if self.schema.same(schema, &self.schema.name) && self.schema.allowed(relation).is_some() =>
                    {
                        name.0.remove(0);
                    }
                    _ => return Err(Refusal::relation(&parts.join("."))),
                }
                self.wildcard(options)
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) | SelectItem::ExprWithAliases { .. } => {
                Err(Refusal::unsupported("this form of a column list"))
            }
        }
    }

    pub(super) fn wildcard(&mut self, options: &WildcardAdditionalOptions) -> Result<(), Refusal> {
        let WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        let plain = opt_ilike.is_none()
            && opt_exclude.is_none()
            && opt_except.is_none()
            && opt_replace.is_none()
            && opt_rename.is_none()
            && opt_alias.is_none();
        self.everything = true;
        if plain { Ok(()) } else { Err(Refusal::unsupported("an option behind *")) }
    }

    fn order_by(&mut self, order_by: &mut OrderBy) -> Result<(), Refusal> {
        match order_by {
            OrderBy { kind: OrderByKind::Expressions(columns), interpolate: None } => self.ordered(columns),
            OrderBy { .. } => Err(Refusal::unsupported("this ORDER BY")),
        }
    }

    pub(super) fn ordered(&mut self, columns: &mut [OrderByExpr]) -> Result<(), Refusal> {
        columns.iter_mut().try_for_each(|OrderByExpr { expr, options: _, with_fill }| {
            if with_fill.is_some() {
                return Err(Refusal::unsupported("WITH FILL"));
            }
            self.expr(expr)
        })
    }

    fn limit(&mut self, limit: &mut LimitClause) -> Result<(), Refusal> {
        match limit {
            LimitClause::LimitOffset { limit, offset, limit_by } if limit_by.is_empty() => {
                if let Some(limit) = limit {
                    self.expr(limit)?;
                }
                offset.as_mut().map_or(Ok(()), |offset| self.expr(&mut offset.value))
            }
            LimitClause::OffsetCommaLimit { offset, limit } if self.schema.engine == Engine::Sqlite => {
                self.expr(offset)?;
                self.expr(limit)
            }
            LimitClause::LimitOffset { .. } | LimitClause::OffsetCommaLimit { .. } => Err(Refusal::unsupported("this LIMIT")),
        }
    }
}
