-- Channels, contacts, chats, agents at work, and what operators see.

CREATE TABLE channel (
    id          uuid   NOT NULL PRIMARY KEY,
    name        text   NOT NULL,
    platform    text   NOT NULL,
    api_to_send_message text,
    webhook_base_url text,
    inbound_auth text  NOT NULL,
    takeover    text   NOT NULL,
    takeover_minutes bigint NOT NULL,
    buffer_max_messages bigint NOT NULL,
    send_read_receipts bigint NOT NULL,
    window_hours bigint,
    health      text   NOT NULL,
    -- Encrypted: a JSON object, and the secret of what comes in, with the one before it.
    credentials text   NOT NULL,
    inbound_secret text,
    old_inbound_secret text,
    old_inbound_secret_until bigint,
    -- Where asking for messages goes on.
    poll_position bigint,
    created_at  bigint NOT NULL,
    deleted_at  bigint
);
CREATE INDEX channel_by_name ON channel (name, id) WHERE deleted_at IS NULL;

CREATE TABLE contact (
    id          uuid   NOT NULL PRIMARY KEY,
    name        text   NOT NULL,
    created_at  bigint NOT NULL
);

CREATE TABLE contact_identity (
    id          uuid   NOT NULL PRIMARY KEY,
    contact_id  uuid   NOT NULL,
    kind        text   NOT NULL,
    -- Empty, or the channel within which alone the value means somebody.
    scope       text   NOT NULL,
    value       text   NOT NULL,
    created_at  bigint NOT NULL
);
CREATE UNIQUE INDEX contact_identity_by_value ON contact_identity (kind, scope, value);
CREATE INDEX contact_identity_by_contact ON contact_identity (contact_id);

-- Contacts that might be one person: an administrator decides.
CREATE TABLE contact_conflict (
    contact_id  uuid   NOT NULL,
    other_id    uuid   NOT NULL,
    PRIMARY KEY (contact_id, other_id)
);

CREATE TABLE opt_out (
    contact_id  uuid   NOT NULL,
    channel_id  uuid   NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (contact_id, channel_id)
);

CREATE TABLE chat (
    id          uuid   NOT NULL PRIMARY KEY,
    channel_id  uuid   NOT NULL,
    contact_id  uuid   NOT NULL,
    external_id text   NOT NULL,
    name        text   NOT NULL,
    assigned_id uuid,
    last_at     bigint NOT NULL,
    last_sender text,
    last_text   text,
    meta        text   NOT NULL,
    extra       text   NOT NULL,
    unread      bigint NOT NULL,
    floor       text   NOT NULL,
    floor_account_id uuid,
    floor_until bigint,
    needs_attention bigint NOT NULL,
    failing_agent_id uuid,
    contact_wrote_at bigint,
    -- The place of the newest message.
    place       bigint NOT NULL,
    -- Messages of the contact in the present hour, for floods.
    hour        bigint NOT NULL,
    hour_count  bigint NOT NULL,
    archived_at bigint,
    created_at  bigint NOT NULL,
    updated_at  bigint NOT NULL
);
CREATE UNIQUE INDEX chat_by_contact ON chat (channel_id, contact_id);
CREATE INDEX chat_by_time ON chat (channel_id, last_at DESC, id);
CREATE INDEX chat_by_assigned ON chat (assigned_id, last_at DESC, id) WHERE assigned_id IS NOT NULL;
CREATE INDEX chat_of_contact ON chat (contact_id);

CREATE TABLE chat_message (
    id          uuid   NOT NULL PRIMARY KEY,
    chat_id     uuid   NOT NULL,
    channel_id  uuid   NOT NULL,
    place       bigint NOT NULL,
    external_id text,
    content     text   NOT NULL,
    kind        text,
    sender      text   NOT NULL,
    account_id  uuid,
    agent_id    uuid,
    at          bigint NOT NULL,
    meta        text   NOT NULL,
    is_read     bigint NOT NULL,
    status      text   NOT NULL,
    attachments text   NOT NULL,
    edited_at   bigint,
    -- What a client named its request, and SHA-256 of it.
    client_key  text,
    client_print text,
    -- The agent's call that it answers.
    delivery_id uuid
);
CREATE UNIQUE INDEX chat_message_by_place ON chat_message (chat_id, place);
CREATE INDEX chat_message_by_external_id ON chat_message (channel_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX chat_message_by_client_key ON chat_message (chat_id, client_key) WHERE client_key IS NOT NULL;

CREATE TABLE chat_agent (
    id          uuid   NOT NULL PRIMARY KEY,
    chat_id     uuid   NOT NULL,
    agent_id    uuid   NOT NULL,
    active      bigint NOT NULL,
    epoch       bigint NOT NULL,
    -- The burst that is growing: since when, how much, and when it is over.
    pending_since bigint,
    pending_count bigint NOT NULL,
    pending_chars bigint NOT NULL,
    due_at      bigint,
    -- The place of the newest message that the agent has accepted, or that a person had dealt with.
    seen_place  bigint NOT NULL,
    -- Calls that failed in a row.
    failures    bigint NOT NULL
);
CREATE UNIQUE INDEX chat_agent_by_chat ON chat_agent (chat_id, agent_id);
CREATE INDEX chat_agent_by_agent ON chat_agent (agent_id);

CREATE TABLE agent_delivery (
    id          uuid   NOT NULL PRIMARY KEY,
    chat_id     uuid   NOT NULL,
    agent_id    uuid   NOT NULL,
    state       text   NOT NULL,
    epoch       bigint NOT NULL,
    body        text   NOT NULL,
    after_place bigint NOT NULL,
    upto_place  bigint NOT NULL,
    attempts    bigint NOT NULL,
    next_at     bigint,
    status      bigint,
    error       text,
    accepted_at bigint,
    reply_due_at bigint,
    replied     bigint NOT NULL,
    conversation_id uuid,
    created_at  bigint NOT NULL,
    ended_at    bigint
);
CREATE INDEX agent_delivery_by_agent ON agent_delivery (agent_id, created_at DESC, id);
CREATE INDEX agent_delivery_by_conversation ON agent_delivery (conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX agent_delivery_by_chat ON agent_delivery (chat_id, agent_id, created_at DESC);

CREATE TABLE draft (
    id          uuid   NOT NULL PRIMARY KEY,
    chat_id     uuid   NOT NULL,
    agent_id    uuid   NOT NULL,
    content     text   NOT NULL,
    created_at  bigint NOT NULL
);
CREATE INDEX draft_by_chat ON draft (chat_id, created_at);

-- Who did what in a chat, and what failed. Lines are never sent to a contact.
CREATE TABLE activity (
    chat_id     uuid   NOT NULL,
    ordinal     bigint NOT NULL,
    at          bigint NOT NULL,
    kind        text   NOT NULL,
    text        text   NOT NULL,
    account_id  uuid,
    agent_id    uuid,
    PRIMARY KEY (chat_id, ordinal)
);

-- What a platform has already told, so that a repeat changes nothing.
CREATE TABLE inbound_key (
    channel_id  uuid   NOT NULL,
    key         text   NOT NULL,
    chat_id     uuid,
    message_id  uuid,
    kind        text   NOT NULL,
    at          bigint NOT NULL,
    -- Set when its chat was deleted; the key goes some time later.
    deleted_at  bigint,
    PRIMARY KEY (channel_id, key)
);
CREATE INDEX inbound_key_by_chat ON inbound_key (chat_id) WHERE chat_id IS NOT NULL;

-- News about a message that is not known yet: callbacks overtake the answer of the call that they are about.
CREATE TABLE early_status (
    channel_id  uuid   NOT NULL,
    external_id text   NOT NULL,
    status      text   NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (channel_id, external_id, status)
);

-- Messages on their way to a platform, a row for each part. Those of one chat go in the order of their places.
CREATE TABLE outbox (
    message_id  uuid   NOT NULL,
    part        bigint NOT NULL,
    chat_id     uuid   NOT NULL,
    channel_id  uuid   NOT NULL,
    place       bigint NOT NULL,
    text        text   NOT NULL,
    -- queued, sent, failed
    state       text   NOT NULL,
    attempts    bigint NOT NULL,
    next_at     bigint NOT NULL,
    claimed_by  uuid,
    claimed_until bigint,
    first_tried_at bigint,
    -- The last attempt may have had its effect.
    is_unknown  bigint NOT NULL,
    external_id text,
    error       text,
    error_code  text,
    created_at  bigint NOT NULL,
    PRIMARY KEY (message_id, part)
);
CREATE INDEX outbox_by_chat ON outbox (chat_id, place, part) WHERE state = 'queued';
CREATE INDEX outbox_due ON outbox (next_at) WHERE state = 'queued';
CREATE INDEX outbox_by_channel ON outbox (channel_id, state, created_at);

CREATE TABLE hub_event (
    seq         bigint NOT NULL PRIMARY KEY,
    at          bigint NOT NULL,
    channel_id  uuid   NOT NULL,
    chat_id     uuid   NOT NULL,
    seen_by     text   NOT NULL,
    body        text   NOT NULL
);
-- The number of the last event. Whoever takes the next one holds the row until its commit, so events appear in order.
CREATE TABLE hub_head (
    id          bigint NOT NULL PRIMARY KEY,
    seq         bigint NOT NULL,
    -- Events up to this number are forgotten.
    swept       bigint NOT NULL
);
INSERT INTO hub_head (id, seq, swept) VALUES (1, 0, 0);
