-- Calls of tools that must never run twice by themselves. A row without a result of its call: it may have run.
CREATE TABLE tool_start (
    conversation_id uuid   NOT NULL,
    call_id         text   NOT NULL,
    started_at      bigint NOT NULL,
    -- Set when the call was cut off and a person was asked about it.
    question_id     uuid,
    PRIMARY KEY (conversation_id, call_id)
);
