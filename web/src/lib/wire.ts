// What the server says, as far as this app listens. See docs/api for the whole of it.

export type Mode = 'ask' | 'plan' | 'build';
export const MODES: readonly Mode[] = ['ask', 'plan', 'build'];

export interface Me {
  name: string;
  role: string;
}

export interface Session {
  id: string;
  title: string;
  createdAt: string;
  updatedAt: string;
  workingDirectory?: string;
  provider?: string;
  model?: string;
  mode?: Mode;
  busy?: boolean;
}

export interface Provider {
  name: string;
  displayName: string;
  models: string[];
  isConfigured?: boolean;
  isDefault?: boolean;
}

export interface SearchHit {
  session: Session;
  messageId: string;
  snippet: string;
  createdAt: string;
}

/** A call with side effects that a crash cut off. */
export interface UnknownCall {
  id: string;
  text: string;
  call: { id: string; name: string; input: unknown };
}

export type Part =
  | { id: string; type: 'text'; content: { text: string }; order: number }
  | { id: string; type: 'reasoning'; content: { text: string }; order: number }
  | { id: string; type: 'tool_use'; content: { id: string; name: string; input: unknown }; order: number }
  | {
      id: string;
      type: 'tool_result';
      content: { tool_use_id: string; content: string; is_error?: boolean; truncated?: boolean; durationMs?: number };
      order: number;
    };

export interface Message {
  id: string;
  role: 'user' | 'assistant';
  createdAt: string;
  parts: Part[];
  clientId?: string;
  turnId?: string;
  streaming?: boolean;
  status?: Outcome;
  error?: string;
  errorCode?: string;
}

export type Outcome = 'completed' | 'truncated' | 'refused' | 'cancelled' | 'failed' | 'asked';

/** A question to a person, with labels to choose from. */
export interface Choice {
  question: string;
  header: string;
  options: { label: string; description: string }[];
  multiSelect: boolean;
}

export interface Usage {
  inputTokens: number;
  outputTokens: number;
}

interface Logged {
  chatId: string;
  seq?: string;
  turnId?: string;
}

export type ChatFrame = Logged &
  (
    | { type: 'user_message'; content: string; messageId: string; timestamp: string; clientId?: string; queued?: number }
    | { type: 'turn_started'; messageIds: string[] }
    | {
        type: 'assistant_message';
        content: string;
        /** Absent: it goes on with the text that was written last. */
        messageId?: string;
      }
    | { type: 'assistant_reasoning'; content: string }
    | { type: 'agent_status'; message: string }
    | { type: 'tool_use'; toolName: string; toolId: string; toolInput: unknown }
    | {
        type: 'tool_result';
        toolId: string;
        toolName: string;
        output: string;
        truncated?: boolean;
        isError?: boolean;
        durationMs?: number;
      }
    | {
        type: 'result';
        success: boolean;
        cost: number | null;
        duration_ms: number | null;
        outcome?: Outcome;
        usage?: Usage;
      }
    | { type: 'question'; questionId: string; questions: Choice[] }
    | { type: 'error'; error: string; code?: string; retryable?: boolean; clientId?: string }
    | { type: 'chat_renamed'; title: string }
    | { type: 'chat_removed'; title?: string }
    | { type: 'history' | 'subscribed' | 'unsubscribed' }
  );

/** Any frame of the socket: with a chat's id it is a chat's. */
export type Frame = { type: string; chatId?: string; seq?: string; code?: string; turnId?: string } & Record<string, unknown>;
