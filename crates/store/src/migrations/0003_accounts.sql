-- People who may sign in, agents, and what proves who they are.

CREATE TABLE account (
    id          uuid   NOT NULL PRIMARY KEY,
    username    text   NOT NULL,
    email       text,
    phone       text,
    role        text   NOT NULL,
    is_active   bigint NOT NULL,
    -- An argon2id hash with its parameters.
    password    text   NOT NULL,
    created_at  bigint NOT NULL
);
CREATE UNIQUE INDEX account_by_username ON account (username);
CREATE UNIQUE INDEX account_by_email ON account (email) WHERE email IS NOT NULL;
CREATE UNIQUE INDEX account_by_phone ON account (phone) WHERE phone IS NOT NULL;

-- Things that happen once: a row says that it has happened.
CREATE TABLE once_only (
    name        text   NOT NULL PRIMARY KEY,
    at          bigint NOT NULL
);

-- The token itself is stored nowhere, but for the first minutes of an agent's.
CREATE TABLE token (
    id          uuid   NOT NULL PRIMARY KEY,
    hash        text   NOT NULL,
    kind        text   NOT NULL,
    account_id  uuid,
    agent_id    uuid,
    -- A session's tokens, from the sign-in on: they die together.
    chain_id    uuid,
    -- The first and last characters, by which its owner knows it.
    hint        text   NOT NULL,
    name        text   NOT NULL,
    -- Encrypted, until it was shown or `shown_until` is over.
    sealed      text,
    shown_until bigint,
    created_at  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    last_used_at bigint,
    revoked_at  bigint
);
CREATE UNIQUE INDEX token_by_hash ON token (hash);
CREATE INDEX token_by_account ON token (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX token_by_agent ON token (agent_id) WHERE agent_id IS NOT NULL;
CREATE INDEX token_by_chain ON token (chain_id) WHERE chain_id IS NOT NULL;
CREATE INDEX sign_in_by_account ON sign_in (account_id);

CREATE TABLE agent (
    id          uuid   NOT NULL PRIMARY KEY,
    name        text   NOT NULL,
    kind        text   NOT NULL,
    webhook_url text,
    is_fire_and_forget bigint NOT NULL,
    buffer_time_s bigint NOT NULL,
    history_msg_count bigint NOT NULL,
    recent_msg_window_minutes bigint NOT NULL,
    activate_for_new_conversation bigint NOT NULL,
    is_active   bigint NOT NULL,
    scope       text   NOT NULL,
    -- Lists are JSON.
    channels    text,
    on_new_message text NOT NULL,
    reply_timeout_s bigint NOT NULL,
    max_wait_s  bigint,
    model       text,
    instructions text  NOT NULL,
    tools       text,
    mode        text   NOT NULL,
    created_at  bigint NOT NULL,
    -- Encrypted. Calls are signed with both while there is an old one.
    secret      text,
    old_secret  text,
    old_secret_until bigint,
    -- The circuit breaker: dead letters since the last success, and until when nothing is sent.
    failures    bigint NOT NULL,
    paused_until bigint
);
CREATE INDEX agent_by_name ON agent (name, id);

-- Who may do everything in one channel. ADMINs need no row.
CREATE TABLE channel_permission (
    channel_id  uuid   NOT NULL,
    account_id  uuid   NOT NULL,
    created_at  bigint NOT NULL,
    PRIMARY KEY (channel_id, account_id)
);
CREATE INDEX channel_permission_by_account ON channel_permission (account_id);
