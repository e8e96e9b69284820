//! What the reader's role may do besides reading. The rights of the role are a fence of their own, so they are looked at.

use tokio_postgres::{Client, Error};

/// The role that reads a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub superuser: bool,
    /// What it may do that a reader needs not; empty: it is fenced.
    pub loose: Vec<String>,
    /// What everybody may do by default, which does not count but is worth knowing.
    pub notes: Vec<String>,
}

impl Role {
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        !self.superuser && self.loose.is_empty()
    }
}

const ROLE: &str = "
    SELECT current_user::text, r.rolsuper, r.rolcreaterole OR r.rolcreatedb OR r.rolreplication,
           EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                     AND (c.relowner = r.oid OR pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER'))),
           EXISTS (SELECT 1 FROM pg_catalog.pg_namespace n WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
                     AND pg_catalog.has_schema_privilege(n.oid, 'CREATE'))
             OR pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           EXISTS (SELECT 1 FROM pg_catalog.pg_roles m WHERE m.rolname IN ('pg_write_all_data', 'pg_read_server_files',
                     'pg_write_server_files', 'pg_execute_server_program') AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')),
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP')
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

pub(super) async fn read(client: &Client, schema: &str) -> Result<Role, Error> {
    let row = client.query_one(ROLE, &[&schema]).await?;
    let superuser: bool = row.get(1);
    let may = |column: usize, words: &str| row.get::<_, bool>(column).then(|| words.to_owned());
    let loose = [
        may(2, "may create roles or databases, or replicate"),
        may(3, "may write to a relation of the schema, or owns one"),
        may(4, "may create in a schema or in the database"),
        may(5, "may write all data, or read, write or run files of the server"),
    ];
    let notes = [may(6, "may make temporary tables, as everybody by default")];
    Ok(Role {
        name: row.get(0),
        superuser,
        loose: loose.into_iter().flatten().collect(),
        notes: notes.into_iter().flatten().collect(),
    })
}
