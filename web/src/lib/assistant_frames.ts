// The assistant's socket, spoken as the one that the rest of the app speaks: what connection.ts sends and receives is translated
// here, so that the same state machine reconnects and the same transcript shows what was said.
//
// One socket is bound to one conversation, once: a second binding could not be told from the first by its frames.

import type { Protocol, Received } from './connection';
import { RETRYABLE } from './transcript';
import type { Choice, ChatFrame, Frame, Outcome } from './wire';

const OUTCOMES: Record<string, Outcome> = {
  done: 'completed',
  truncated: 'truncated',
  cancelled: 'cancelled',
  question: 'asked',
};

/** Characters of a tool's result that its frame carries at most. */
const PREVIEW_CHARS = 500;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

export class AssistantProtocol implements Protocol {
  #chatId = '';
  /** The server has answered to the binding. */
  #bound = false;
  /** Turns of which a frame has come. */
  #begun = new Set<string>();
  /** The messages that a turn answers. */
  #answers = new Map<string, string[]>();

  /** The server says nothing at first. */
  opened(): Frame[] {
    this.#bound = false;
    // What a socket has not told of may be on the page no more.
    this.#begun.clear();
    return [{ type: 'connected' }];
  }

  send(frame: Record<string, unknown>): Record<string, unknown> | null {
    if (frame.type === 'ping') return { type: 'ping' };
    if (frame.type !== 'subscribe') return null;
    this.#chatId = text(frame.chatId);
    return { type: 'start', conversation_id: Number(this.#chatId), since: frame.since, notices: true };
  }

  receive(frame: Frame): Received {
    if (frame.type === 'pong') return { frames: [{ type: 'pong' }] };
    if (frame.type === 'conversation_deleted') return { frames: [{ type: 'chat_removed', chatId: this.#chatId }], close: true };
    const refused = frame.type === 'error' && typeof frame.turn_id !== 'string';
    if (refused) return this.#refused(frame);
    const frames = this.#translate(frame);
    if (this.#bound) return { frames };
    this.#bound = true;
    return { frames: [{ type: 'subscribed', chatId: this.#chatId }, ...frames] };
  }

  /** An answer to the binding, or to nothing that matters here. */
  #refused(frame: Frame): Received {
    const isAnswer = frame.code === 'not_found' || frame.code === 'bad_cursor';
    if (!isAnswer) return { frames: [] };
    const error: Frame = { type: 'error', chatId: this.#chatId, code: text(frame.code), error: text(frame.content) };
    return { frames: [error], close: true };
  }

  #translate(frame: Frame): Frame[] {
    const turnId = text(frame.turn_id);
    const place = { chatId: this.#chatId, ...(typeof frame.seq === 'string' && { seq: frame.seq }) };
    if (frame.type === 'user_message') {
      const messageId = String(frame.message_id);
      if (turnId) this.#answers.set(turnId, [...(this.#answers.get(turnId) ?? []), messageId]);
      // When it was said, the frame does not tell: the transcript of REST does.
      const message: ChatFrame = { ...place, type: 'user_message', content: text(frame.content), messageId, timestamp: '' };
      return [{ ...message, ...(typeof frame.client_id === 'string' && { clientId: frame.client_id }) } as unknown as Frame];
    }
    if (!turnId) return [];
    const body = bodyOf(frame);
    if (!body) return [];
    const said = { ...place, turnId, ...body } as unknown as Frame;
    if (this.#begun.has(turnId)) return [said];
    this.#begun.add(turnId);
    const messageIds = this.#answers.get(turnId) ?? [];
    return [{ type: 'turn_started', chatId: this.#chatId, turnId, messageIds }, said];
  }
}

function bodyOf(frame: Frame): Record<string, unknown> | null {
  switch (frame.type) {
    case 'text':
      return { type: 'assistant_message', content: text(frame.content) };
    case 'tool_call':
      return { type: 'tool_use', toolName: text(frame.tool), toolId: text(frame.id), toolInput: frame.input };
    case 'tool_result': {
      const output = text(frame.preview);
      const truncated = Array.from(output).length >= PREVIEW_CHARS;
      return { type: 'tool_result', toolName: text(frame.tool), toolId: text(frame.id), output, truncated, isError: frame.is_error === true };
    }
    case 'question':
      return { type: 'question', questionId: text(frame.question_id), questions: frame.questions as Choice[] };
    case 'response_done': {
      const outcome = OUTCOMES[text(frame.outcome)] ?? 'completed';
      return { type: 'result', success: true, cost: null, duration_ms: null, outcome };
    }
    case 'error': {
      const code = text(frame.code);
      return { type: 'error', error: text(frame.content).replace(/^Error: (.)/, (_, first: string) => first.toUpperCase()), code, retryable: RETRYABLE.has(code) };
    }
    default:
      return null;
  }
}
