-- What contacts have sent, and addresses that platforms fetch for us.

CREATE TABLE chat_file (
    id          uuid   NOT NULL PRIMARY KEY,
    chat_id     uuid   NOT NULL,
    channel_id  uuid   NOT NULL,
    -- As its sender called it.
    name        text,
    -- By its content. Set, with the size, when all of it is here.
    mime_type   text,
    size        bigint NOT NULL
);
CREATE INDEX chat_file_by_chat ON chat_file (chat_id);
CREATE INDEX chat_file_by_channel ON chat_file (channel_id);

-- The bytes of a file, in pieces of one length but for the last, in base64.
CREATE TABLE chat_file_piece (
    file_id     uuid   NOT NULL,
    ordinal     bigint NOT NULL,
    body        text   NOT NULL,
    PRIMARY KEY (file_id, ordinal)
);

-- A JSON list of addresses and types, or nothing.
ALTER TABLE outbox ADD COLUMN media text;
