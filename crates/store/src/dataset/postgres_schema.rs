//! What the schema of a PostgreSQL data set holds, as the reader may see it.

use tokio_postgres::{Client, Error};

use super::schema::{Column, Engine, Relation, Schema};

const RELATIONS: &str = "
    SELECT c.oid::bigint, c.relname::text, c.relkind IN ('v', 'm'), c.reltuples::bigint,
           pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.obj_description(c.oid, 'pg_class')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname";

const COLUMNS: &str = "
    SELECT a.attrelid::bigint, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
           EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)),
           (SELECT f.relname::text || '.' || fa.attname::text FROM pg_catalog.pg_constraint k
              JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
              JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = k.confkey[1]
            WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum] LIMIT 1),
           pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'), pg_catalog.col_description(a.attrelid, a.attnum)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum";

pub(super) async fn read(client: &Client, name: &str) -> Result<Schema, Error> {
    let columns = client.query(COLUMNS, &[&name]).await?;
    let columns_of = |oid: i64| {
        let own = columns.iter().filter(|row| row.get::<_, i64>(0) == oid);
        own.map(|row| Column {
            name: row.get(1),
            data_type: row.get(2),
            not_null: row.get(3),
            primary_key: row.get(4),
            references: row.get(5),
            allowed: row.get(6),
            comment: row.get(7),
        })
        .collect::<Vec<_>>()
    };
    let relations = client.query(RELATIONS, &[&name]).await?;
    let relations = relations.iter().map(|row| {
        let columns = columns_of(row.get(0));
        // A grant may be for some of the columns only.
        let allowed = row.get::<_, bool>(4) || columns.iter().any(|column| column.allowed);
        let rows: i64 = row.get(3);
        let (name, is_view, comment) = (row.get(1), row.get(2), row.get(5));
        Relation { name, is_view, allowed, columns, comment, rows: (rows >= 0).then_some(rows) }
    });
    Ok(Schema { engine: Engine::Postgres, name: name.to_owned(), relations: relations.collect() })
}
