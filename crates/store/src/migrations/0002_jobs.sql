-- Background work. A job that is done is deleted.
CREATE TABLE job (
    id           uuid   NOT NULL PRIMARY KEY,
    kind         text   NOT NULL,
    body         text   NOT NULL,
    -- Of those that wait, one for each kind and key.
    unique_key   text,
    -- Jobs of one lane run one after another, in the order of their position.
    lane         text,
    position     bigint NOT NULL,
    -- waiting, running or dead
    state        text   NOT NULL,
    -- When it is due; of a dead one, when it died.
    run_at       bigint NOT NULL,
    created_at   bigint NOT NULL,
    attempts     bigint NOT NULL,
    -- Rises with every claim, so that whoever lost a job cannot complete it.
    fence        bigint NOT NULL,
    -- By the database's clock.
    leased_until bigint,
    -- Why the last attempt failed, in a sentence.
    error        text
);
CREATE UNIQUE INDEX job_by_key ON job (kind, unique_key) WHERE state = 'waiting';
CREATE INDEX job_waiting ON job (kind, run_at) WHERE state = 'waiting';
CREATE INDEX job_due ON job (run_at) WHERE state = 'waiting';
CREATE INDEX job_leased ON job (leased_until) WHERE state = 'running';
CREATE INDEX job_by_lane ON job (lane, position) WHERE lane IS NOT NULL;
CREATE INDEX job_dead ON job (run_at) WHERE state = 'dead';
