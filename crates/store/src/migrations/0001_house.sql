-- One text for both databases. Times are milliseconds since 1970, ids are UUIDs, bodies are JSON.

CREATE TABLE conversation (
    id          uuid   NOT NULL PRIMARY KEY,
    owner_id    uuid   NOT NULL,
    title       text   NOT NULL,
    model       text   NOT NULL,
    mode        text   NOT NULL,
    workdir     text   NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL,
    -- The number of the last event, and the fence that a turn's owner must hold to append.
    seq         bigint NOT NULL,
    epoch       bigint NOT NULL
);
CREATE INDEX conversation_by_owner ON conversation (owner_id, updated_at, created_at, id);

CREATE TABLE message (
    id              uuid   NOT NULL PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    place           bigint NOT NULL,
    author          text   NOT NULL,
    -- Set for a person's message only.
    account_id      uuid,
    turn_id         uuid   NOT NULL,
    client_id       text,
    -- SHA-256 of what was sent under client_id, so that a repeat can be told from a conflict.
    fingerprint     text,
    created_at      bigint NOT NULL
);
CREATE UNIQUE INDEX message_by_place ON message (conversation_id, place);
CREATE UNIQUE INDEX message_by_client_id ON message (conversation_id, account_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX message_by_turn ON message (turn_id);

CREATE TABLE part (
    id              uuid   NOT NULL PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    message_id      uuid   NOT NULL,
    ordinal         bigint NOT NULL,
    place           bigint NOT NULL,
    -- The event with which the part was complete.
    seq             bigint NOT NULL,
    kind            text   NOT NULL,
    -- The words of text and reasoning; everything else is in the body.
    text            text,
    body            text,
    created_at      bigint NOT NULL
);
CREATE INDEX part_by_message ON part (message_id, ordinal);
CREATE INDEX part_text_by_place ON part (conversation_id, place) WHERE kind = 'text';
-- The text of a tool call is its id.
CREATE INDEX part_by_call ON part (conversation_id, text) WHERE kind = 'tool_call';

CREATE TABLE event (
    conversation_id uuid   NOT NULL,
    seq             bigint NOT NULL,
    epoch           bigint NOT NULL,
    at              bigint NOT NULL,
    turn_id         uuid,
    kind            text   NOT NULL,
    -- The part that the event brought; its words are stored there and nowhere else.
    part_id         uuid,
    body            text,
    PRIMARY KEY (conversation_id, seq)
);

CREATE TABLE turn (
    id              uuid   NOT NULL PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    state           text   NOT NULL,
    -- The order of the queue: the smallest is answered first.
    position        bigint NOT NULL,
    mode            text   NOT NULL,
    workdir         text,
    reply_id        uuid   NOT NULL,
    created_at      bigint NOT NULL,
    started_at      bigint,
    -- The event with which it started, and the how-manieth it was to start in its conversation.
    started_seq     bigint,
    ordinal         bigint,
    steps           bigint NOT NULL,
    input_tokens    bigint NOT NULL,
    output_tokens   bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    -- How often the turn was taken up again after a crash.
    resumes         bigint NOT NULL,
    -- The event with which it finished, and how.
    finished_seq    bigint,
    outcome         text
);
CREATE INDEX turn_open ON turn (conversation_id, position) WHERE state <> 'finished';
CREATE INDEX turn_by_start ON turn (conversation_id, started_seq);
CREATE INDEX turn_by_ordinal ON turn (conversation_id, ordinal);

-- Pieces of parts that are still being written. No key: rows are only ever appended, read after a crash, and swept.
CREATE TABLE delta (
    conversation_id uuid   NOT NULL,
    turn_id         uuid   NOT NULL,
    message_id      uuid   NOT NULL,
    part_id         uuid   NOT NULL,
    ordinal         bigint NOT NULL,
    kind            text   NOT NULL,
    place           bigint NOT NULL,
    at              bigint NOT NULL,
    start           bigint NOT NULL,
    text            text   NOT NULL
);

-- What was answered to a request that carried an Idempotency-Key.
CREATE TABLE request_key (
    account_id  uuid   NOT NULL,
    key         text   NOT NULL,
    fingerprint text   NOT NULL,
    answer      text   NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX request_key_by_age ON request_key (created_at);

-- Signed-in browsers. The cookie itself is stored nowhere.
CREATE TABLE sign_in (
    cookie_hash text   NOT NULL PRIMARY KEY,
    account_id  uuid   NOT NULL,
    created_at  bigint NOT NULL,
    expires_at  bigint NOT NULL
);
