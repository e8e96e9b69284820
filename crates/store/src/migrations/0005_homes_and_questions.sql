-- Which API a conversation belongs to.
ALTER TABLE conversation ADD COLUMN home text NOT NULL DEFAULT 'direct';
DROP INDEX conversation_by_owner;
CREATE INDEX conversation_by_owner ON conversation (owner_id, home, updated_at, created_at, id);

-- What waits for a person's answer.
CREATE TABLE question (
    id              uuid   NOT NULL PRIMARY KEY,
    conversation_id uuid   NOT NULL,
    turn_id         uuid   NOT NULL,
    -- What is asked, as JSON.
    body            text   NOT NULL,
    asked_at        bigint NOT NULL,
    expires_at      bigint,
    -- Set together, once.
    answered_at     bigint,
    answered_by     uuid,
    answer          text
);
CREATE INDEX question_by_conversation ON question (conversation_id);
CREATE INDEX question_open ON question (conversation_id, asked_at) WHERE answered_at IS NULL;
