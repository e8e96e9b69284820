-- Several nodes may work on one database. A node has a row here for as long as it is alive; a turn that runs belongs to one.

CREATE TABLE node (
    id          uuid   NOT NULL PRIMARY KEY,
    address     text   NOT NULL,
    -- Both by the database's clock. Whoever finds a row whose time is over removes it, and with it all claims of its node.
    started_at  bigint NOT NULL,
    alive_until bigint NOT NULL
);

ALTER TABLE turn ADD COLUMN node_id uuid;
-- 1: somebody wants it to stop, and whoever runs it must see to that.
ALTER TABLE turn ADD COLUMN stop bigint NOT NULL DEFAULT 0;
CREATE INDEX turn_running ON turn (node_id) WHERE state = 'running';
CREATE INDEX turn_queued ON turn (conversation_id) WHERE state = 'queued';

-- A piece counts only in the epoch in which it was written: nobody keeps a node that has lost its turn from storing more.
ALTER TABLE delta ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
