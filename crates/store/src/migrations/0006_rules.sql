-- Rules, their versions and their runs. The rows that a rule gives are kept elsewhere: see results.rs.

CREATE TABLE rule (
    id              uuid   NOT NULL PRIMARY KEY,
    number          bigint NOT NULL,
    slug            text   NOT NULL,
    code            text,
    name            text   NOT NULL,
    text            text   NOT NULL,
    owner_id        uuid   NOT NULL,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    -- The rows that the stable view shows.
    table_name      text,
    version         bigint,
    run_id          uuid,
    rows            bigint,
    first_stored_at bigint,
    stored_at       bigint,
    stale           bigint NOT NULL
);
CREATE UNIQUE INDEX rule_by_slug ON rule (slug);
CREATE UNIQUE INDEX rule_by_number ON rule (number);

CREATE TABLE rule_version (
    rule_id        uuid   NOT NULL,
    version        bigint NOT NULL,
    source         text   NOT NULL,
    state          text   NOT NULL,
    sql            text   NOT NULL,
    hash           text   NOT NULL,
    text_hash      text   NOT NULL,
    schema_hash    text   NOT NULL,
    semantics_hash text   NOT NULL,
    body           text   NOT NULL,
    waiting_run_id uuid,
    created_at     bigint NOT NULL,
    decided_by     uuid,
    decided_at     bigint,
    PRIMARY KEY (rule_id, version)
);

CREATE TABLE rule_run (
    id          uuid   NOT NULL PRIMARY KEY,
    rule_id     uuid   NOT NULL,
    account_id  uuid   NOT NULL,
    key         text,
    fingerprint text   NOT NULL,
    state       text   NOT NULL,
    created_at  bigint NOT NULL,
    started_at  bigint,
    finished_at bigint,
    version     bigint,
    table_name  text,
    rows        bigint,
    truncated   bigint NOT NULL,
    lineage     text   NOT NULL,
    added       bigint,
    removed     bigint,
    request     text   NOT NULL,
    dialog      text   NOT NULL,
    answer      text
);
CREATE UNIQUE INDEX rule_run_by_key ON rule_run (account_id, key) WHERE key IS NOT NULL;
CREATE INDEX rule_run_by_rule ON rule_run (rule_id, created_at);
CREATE INDEX rule_run_open ON rule_run (state) WHERE finished_at IS NULL;

-- What was forbidden, probed, decided or removed, and by whom.
CREATE TABLE rule_audit (
    id         uuid   NOT NULL PRIMARY KEY,
    at         bigint NOT NULL,
    account_id uuid   NOT NULL,
    rule       text   NOT NULL,
    kind       text   NOT NULL,
    detail     text   NOT NULL
);
CREATE INDEX rule_audit_by_time ON rule_audit (at);
