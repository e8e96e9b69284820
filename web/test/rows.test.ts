import { describe, expect, it } from 'vitest';

import type { Outgoing } from '../src/lib/outbox';
import { arrange, isBusy } from '../src/lib/rows';
import { applyFrame, empty, type Transcript } from '../src/lib/transcript';
import type { ChatFrame } from '../src/lib/wire';
import { CHAT, hex } from './story';

const after = (...list: Record<string, unknown>[]): Transcript =>
  list.reduce<Transcript>((now, frame) => applyFrame(now, { chatId: CHAT, ...frame } as unknown as ChatFrame), empty);
const say = (id: number): Record<string, unknown> => ({ type: 'user_message', content: `q${id}`, messageId: hex(id), timestamp: '', clientId: `c${id}` });
const start = (turn: number, user: number): Record<string, unknown> => ({ type: 'turn_started', turnId: hex(turn), messageIds: [hex(user)] });
const end = (turn: number): Record<string, unknown> => ({ type: 'result', turnId: hex(turn), success: true, outcome: 'completed', cost: null, duration_ms: 1 });
const out = (clientId: string, state: Outgoing['state'] = 'sending'): Outgoing => ({ clientId, text: 'x', mode: null, at: '', state, reason: null });

const order = (transcript: Transcript, outbox: Outgoing[] = []): string[] =>
  arrange(transcript, outbox).map((row) => {
    if (row.kind === 'user') return `${row.item.text}${row.waiting === 'no' ? '' : `:${row.waiting}`}`;
    return row.kind === 'turn' ? `t${Number.parseInt(row.item.id, 16)}` : row.entry.clientId;
  });

describe('the order for reading', () => {
  it('puts each answer below its message', () => {
    const now = after(say(1), start(10, 1), say(2), say(3), end(10), start(20, 2), end(20), start(30, 3));
    expect(order(now)).toEqual(['q1', 't10', 'q2', 't20', 'q3', 't30']);
  });

  it('says what waits', () => {
    expect(order(after(say(1)))).toEqual(['q1:next']);
    expect(order(after(say(1), start(10, 1), say(2), say(3)))).toEqual(['q1', 't10', 'q2:queued', 'q3:queued']);
    expect(order(after(say(1), start(10, 1), say(2), say(3), end(10)))).toEqual(['q1', 't10', 'q2:next', 'q3:queued']);
  });

  it('does not wait for a message that a later answer has left behind', () => {
    const now = after(say(1), start(10, 1), say(2), end(10), say(3), start(30, 3), end(30));
    expect(order(now)).toEqual(['q1', 't10', 'q2', 'q3', 't30']);
    expect(isBusy(arrange(now, []))).toBe(false);
  });

  it('shows what is being sent at the end, once', () => {
    const now = after(say(1), start(10, 1));
    expect(order(now, [out('c1'), out('c2')])).toEqual(['q1', 't10', 'c2']);
  });

  it('keeps the bubble when the message is stored', () => {
    const before = arrange(empty, [out('c1')])[0]!.key;
    expect(arrange(after(say(1)), [])[0]!.key).toBe(before);
  });

  it('knows the last row, and the question of an answer', () => {
    const rows = arrange(after(say(1), start(10, 1)), []);
    expect(rows[1]).toMatchObject({ kind: 'turn', last: true, question: 'q1' });
    expect(arrange(after(say(1), start(10, 1)), [out('c2')])[1]).toMatchObject({ last: false });
  });
});
