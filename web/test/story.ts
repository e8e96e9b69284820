// A small conversation server in a few lines: it makes a log of frames, and a snapshot at any position of it.

import type { ChatFrame, Message, Part } from '../src/lib/wire';

/** Numbers that are the same in every run. */
export function generator(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const hex = (n: number): string => n.toString(16).padStart(32, '0');
const dashed = (n: number): string => hex(n).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
export const CHAT = hex(0xc0ffee);

interface Step {
  frame: ChatFrame;
  /** What the store has after this frame. */
  apply: (messages: Message[]) => void;
}

const WORDS = ['alpha ', 'beta\n', '**gamma** ', 'δέλτα ', '\n\n', '`code` ', '- item\n'];

/** A log of some turns, with tools, reasoning, failures and messages that wait. */
export function story(seed: number): Step[] {
  const random = generator(seed);
  const steps: Step[] = [];
  let id = 1;
  let position = 0;
  const at = '2026-11-20T09:39:24.822Z';

  const emit = (fields: Record<string, unknown>, apply: (messages: Message[]) => void = () => {}): void => {
    position += 1;
    steps.push({ frame: { chatId: CHAT, seq: `1.${position}.0`, ...fields } as unknown as ChatFrame, apply });
  };

  const waiting: { message: number; turn: number }[] = [];
  const say = (): void => {
    const message = id++;
    const turn = id++;
    const content = `question ${message}`;
    emit(
      { type: 'user_message', content, messageId: hex(message), timestamp: at, clientId: `c${message}`, queued: waiting.length },
      (messages) =>
        messages.push({
          id: dashed(message),
          role: 'user',
          createdAt: at,
          clientId: `c${message}`,
          turnId: dashed(turn),
          parts: [{ id: dashed(message), type: 'text', content: { text: content }, order: 0 }],
        }),
    );
    waiting.push({ message, turn });
  };

  const answer = (): void => {
    const { message, turn } = waiting.shift()!;
    const turnId = hex(turn);
    let reply = id++;
    const first = reply;
    const begin = (messages: Message[]): void => {
      messages.push({ id: dashed(first), role: 'assistant', createdAt: at, turnId: dashed(turn), streaming: true, parts: [] });
    };
    emit({ type: 'turn_started', turnId, messageIds: [hex(message)] }, begin);

    const rounds = 1 + Math.floor(random() * 3);
    for (let round = 0; round < rounds; round += 1) {
      if (random() < 0.4) emit({ type: 'assistant_reasoning', turnId, content: 'hm ' });
      const part = id++;
      const pieces = 1 + Math.floor(random() * 5);
      for (let n = 0; n < pieces; n += 1) {
        const piece = WORDS[Math.floor(random() * WORDS.length)]!;
        const replyNow = reply;
        emit({ type: 'assistant_message', turnId, content: piece, messageId: hex(part) }, (messages) => {
          const target = messages.find((one) => one.id === dashed(replyNow))!;
          const known = target.parts.find((one) => one.id === dashed(part));
          if (known?.type === 'text') known.content.text += piece;
          else target.parts.push({ id: dashed(part), type: 'text', content: { text: piece }, order: target.parts.length });
        });
        if (random() < 0.1) say();
      }
      if (round === rounds - 1) break;
      const calls = 1 + Math.floor(random() * 2);
      const ids: string[] = [];
      for (let n = 0; n < calls; n += 1) {
        const toolId = `call-${id++}`;
        ids.push(toolId);
        const replyNow = reply;
        steps.push({ frame: { type: 'agent_status', chatId: CHAT, turnId, message: 'Reading a file' }, apply: () => {} });
        emit({ type: 'tool_use', turnId, toolName: 'Read', toolId, toolInput: { path: 'a.txt' } }, (messages) => {
          const target = messages.find((one) => one.id === dashed(replyNow))!;
          target.parts.push({
            id: dashed(100_000 + Number(toolId.slice(5))),
            type: 'tool_use',
            content: { id: toolId, name: 'read_file', input: { path: 'a.txt' } },
            order: target.parts.length,
          });
        });
      }
      const results = id++;
      for (const toolId of random() < 0.5 ? ids : [...ids].reverse()) {
        const isError = random() < 0.2;
        emit({ type: 'tool_result', turnId, toolId, toolName: 'Read', output: 'alpha\n', isError }, (messages) => {
          let target = messages.find((one) => one.id === dashed(results));
          if (!target) {
            target = { id: dashed(results), role: 'user', createdAt: at, parts: [] };
            messages.push(target);
          }
          target.parts.push({
            id: dashed(200_000 + Number(toolId.slice(5))),
            type: 'tool_result',
            content: { tool_use_id: toolId, content: 'alpha\n', ...(isError && { is_error: true as const }) },
            order: target.parts.length,
          } satisfies Part);
        });
      }
      // The next step's message begins with its first frame.
      const before = reply;
      reply = id++;
      const next = reply;
      steps.at(-1)!.apply = chain(steps.at(-1)!.apply, (messages) => {
        delete messages.find((one) => one.id === dashed(before))!.streaming;
        messages.push({ id: dashed(next), role: 'assistant', createdAt: at, turnId: dashed(turn), streaming: true, parts: [] });
      });
    }
    const failed = random() < 0.2;
    const last = reply;
    const end = (messages: Message[]): void => {
      const target = messages.find((one) => one.id === dashed(last))!;
      delete target.streaming;
      target.status = failed ? 'failed' : 'completed';
      if (failed) Object.assign(target, { error: 'The model broke off.', errorCode: 'provider_truncated' });
    };
    if (failed) emit({ type: 'error', turnId, error: 'The model broke off.', code: 'provider_truncated', retryable: true }, end);
    else emit({ type: 'result', turnId, success: true, cost: null, duration_ms: 5, outcome: 'completed' }, end);
  };

  const turns = 1 + Math.floor(random() * 4);
  for (let turn = 0; turn < turns; turn += 1) {
    if (waiting.length === 0 || random() < 0.3) say();
    answer();
  }
  while (waiting.length > 0 && random() < 0.7) answer();
  return steps;
}

const chain =
  (first: (messages: Message[]) => void, second: (messages: Message[]) => void) =>
  (messages: Message[]): void => {
    first(messages);
    second(messages);
  };

/** The stored messages after the first `count` steps, and the position they stand for. */
export function snapshotAt(steps: Step[], count: number): { messages: Message[]; seq: string } {
  const messages: Message[] = [];
  for (const step of steps.slice(0, count)) step.apply(messages);
  const seq = steps.slice(0, count).findLast((step) => step.frame.seq)?.frame.seq ?? '1.0.0';
  return { messages: structuredClone(messages), seq };
}
