-- What people tell each other about a chat, and what they say often.

CREATE TABLE chat_note (
    id          uuid   NOT NULL PRIMARY KEY,
    chat_id     uuid   NOT NULL,
    -- 1, 2, 3… within the chat.
    ordinal     bigint NOT NULL,
    -- The place of the newest message when it was written: it stands behind that.
    after_place bigint NOT NULL,
    content     text   NOT NULL,
    -- Null for the owner, and for somebody whose account was removed.
    account_id  uuid,
    by_owner    bigint NOT NULL,
    created_at  bigint NOT NULL,
    edited_at   bigint,
    -- What it said is gone then; the row stays, so that a late repeat of its request does not bring it back.
    deleted_at  bigint,
    -- Who asked, what a client named its request, and SHA-256 of it.
    client_key  text,
    client_print text
);
CREATE INDEX chat_note_by_place ON chat_note (chat_id, after_place, ordinal);
CREATE UNIQUE INDEX chat_note_by_client_key ON chat_note (chat_id, client_key) WHERE client_key IS NOT NULL;

CREATE TABLE canned_reply (
    id          uuid   NOT NULL PRIMARY KEY,
    title       text   NOT NULL,
    shortcut    text,
    content     text   NOT NULL,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL
);
CREATE UNIQUE INDEX canned_reply_by_shortcut ON canned_reply (shortcut) WHERE shortcut IS NOT NULL;
