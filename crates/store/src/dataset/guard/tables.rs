//! What stands in `FROM`. Whatever is no `WITH` name in scope must be an allowed relation; nothing else is a table.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor, TableFunctionArgs, TableWithJoins,
};

use super::query::Walk;
use super::{Class, Refusal};
use crate::dataset::schema::{Engine, Relation};

impl Walk<'_> {
    pub(super) fn table_with_joins(&mut self, table: &mut TableWithJoins) -> Result<(), Refusal> {
        let TableWithJoins { relation, joins } = table;
        self.deeper(|walk| walk.table(relation))?;
        joins.iter_mut().try_for_each(|join| self.join(join))
    }

    fn join(&mut self, join: &mut Join) -> Result<(), Refusal> {
        let Join { relation, global, join_operator } = join;
        if *global {
            return Err(Refusal::unsupported("GLOBAL JOIN"));
        }
        self.deeper(|walk| walk.table(relation))?;
        let constraint = match join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint)
            | JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
            | JoinOperator::CrossJoin(constraint) => constraint,
            _ => return Err(Refusal::unsupported("this kind of join")),
        };
        match constraint {
            JoinConstraint::On(condition) => self.expr(condition),
            JoinConstraint::Using(columns) => columns.iter_mut().try_for_each(|column| match self.parts(column)?.as_slice() {
                [_] => Ok(()),
                _ => Err(Refusal::unsupported("a qualified name in USING")),
            }),
            JoinConstraint::Natural | JoinConstraint::None => Ok(()),
        }
    }

    fn table(&mut self, table: &mut TableFactor) -> Result<(), Refusal> {
        match table {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version: None,
                with_ordinality,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                if let Some(TableFunctionArgs { args, settings }) = args {
                    if settings.is_some() {
                        return Err(Refusal::unsupported("a clause of another dialect"));
                    }
                    self.called(name)?;
                    self.table_arguments(args)?;
                    return alias.as_mut().map_or(Ok(()), |alias| self.alias(alias));
                }
                if let Some(alias) = alias {
                    self.alias(alias)?;
                }
                if *with_ordinality {
                    return Err(Refusal::unsupported("WITH ORDINALITY behind a table"));
                }
                if let Some(relation) = self.relation(name)? {
                    self.narrow(table, &relation);
                }
                Ok(())
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                if *lateral && self.schema.engine == Engine::Sqlite {
                    return Err(Refusal::unsupported("LATERAL"));
                }
                self.query(subquery)?;
                alias.as_mut().map_or(Ok(()), |alias| self.alias(alias))
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality: _, alias }
                if self.schema.engine == Engine::Postgres =>
            {
                self.called(name)?;
                self.table_arguments(args)?;
                alias.as_mut().map_or(Ok(()), |alias| self.alias(alias))
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality: _ }
                if self.schema.engine == Engine::Postgres =>
            {
                self.functions.insert("unnest".to_owned());
                self.exprs(array_exprs)?;
                alias.as_mut().map_or(Ok(()), |alias| self.alias(alias))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.deeper(|walk| walk.table_with_joins(table_with_joins))?;
                alias.as_mut().map_or(Ok(()), |alias| self.alias(alias))
            }
            _ => Err(Refusal::unsupported("this form of a table")),
        }
    }

    fn table_arguments(&mut self, args: &mut [FunctionArg]) -> Result<(), Refusal> {
        args.iter_mut().try_for_each(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(expr),
            _ => Err(Refusal::unsupported("this form of an argument")),
        })
    }

    /// Finds the relation that a name stands for and writes the schema in front of it; `None` if it is a `WITH` name.
    fn relation(&mut self, name: &mut ObjectName) -> Result<Option<Relation>, Refusal> {
        let parts = self.parts(name)?;
        let relation = match parts.as_slice() {
            [one] if self.in_scope.iter().any(|known| self.schema.same(known, one)) => return Ok(None),
            [one] => one,
            [schema, one] if self.schema.same(schema, &self.schema.name) => one,
            _ => return Err(Refusal { class: Class::Forbidden, ..Refusal::relation(&parts.join(".")) }),
        };
        match self.schema.relation(relation) {
            Some(found) if found.allowed => {
                self.relations.insert(found.name.clone());
                let schema = (self.schema.engine == Engine::Postgres).then(|| Ident::with_quote('"', self.schema.name.as_str()));
                let own = Ident { quote_style: Some('"'), ..Ident::new(found.name.as_str()) };
                name.0 = schema.into_iter().chain([own]).map(ObjectNamePart::Identifier).collect();
                Ok(Some(found.clone()))
            }
            found => Err(Refusal {
                class: if is_catalog(relation) { Class::Forbidden } else { Class::Mistake },
                probed: found.map(|found| found.name.clone()),
                ..Refusal::relation(relation)
            }),
        }
    }

    /// A relation of which some columns may not be read is replaced by a query for the others: to what stands around it, no
    /// other columns exist. Others only get their own name as alias, so that a column can be qualified with it.
    fn narrow(&mut self, table: &mut TableFactor, relation: &Relation) {
        if !relation.is_restricted() {
            return;
        }
        let TableFactor::Table { alias, .. } = table else { return };
        let own_name =
            || TableAlias { explicit: true, name: Ident::with_quote('"', relation.name.as_str()), columns: Vec::new(), at: None };
        let alias = alias.take().unwrap_or_else(own_name);
        let column = |name: &str| SelectItem::UnnamedExpr(Expr::Identifier(Ident::with_quote('"', name)));
        let columns = relation.readable().map(|readable| column(&readable.name)).collect();
        let subquery = Box::new(plain_query(columns, table.clone()));
        *table = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    }
}

/// Names of catalogs and of modules that show what is none of the data.
fn is_catalog(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let beginnings = ["pg_", "sqlite_", "pragma_", "information_schema"];
    beginnings.iter().any(|start| name.starts_with(start)) || ["dbstat", "json_each", "json_tree"].contains(&name.as_str())
}

fn plain_query(projection: Vec<SelectItem>, relation: TableFactor) -> Query {
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}
