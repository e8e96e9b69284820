-- Projects that were registered over the API; those of the settings are not here.
CREATE TABLE assistant_project (
    name       text   NOT NULL PRIMARY KEY,
    path       text   NOT NULL,
    created_at bigint NOT NULL
);

-- A conversation about a project has a number beside its id.
CREATE TABLE assistant_conversation (
    number          bigint NOT NULL PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    project_name    text   NOT NULL
);
CREATE UNIQUE INDEX assistant_conversation_by_id ON assistant_conversation (conversation_id);
CREATE INDEX assistant_conversation_by_project ON assistant_conversation (project_name);

-- A row of its transcript: a person's message, or a turn by its first assistant message. The number is given when it begins, and
-- it is shown once it is finished and says something.
CREATE TABLE assistant_row (
    number          bigint NOT NULL PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    message_id      uuid   NOT NULL,
    shown           bigint NOT NULL
);
CREATE UNIQUE INDEX assistant_row_by_message ON assistant_row (message_id);
CREATE INDEX assistant_row_by_conversation ON assistant_row (conversation_id, shown);

-- The conversation that an account last started in a project.
CREATE TABLE assistant_session (
    project_name    text   NOT NULL,
    account_id      uuid   NOT NULL,
    conversation_id uuid   NOT NULL,
    PRIMARY KEY (project_name, account_id)
);
CREATE INDEX assistant_session_by_conversation ON assistant_session (conversation_id);

-- Numbers that were given. One that was taken is never given again, whatever is deleted.
CREATE TABLE number_series (
    name text   NOT NULL PRIMARY KEY,
    last bigint NOT NULL
);
INSERT INTO number_series (name, last) VALUES ('assistant_conversation', 0), ('assistant_row', 0);
