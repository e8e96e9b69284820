import { describe, expect, it } from 'vitest';

import { arrange } from '../src/lib/rows';
import {
  applyFrame,
  completeResults,
  empty,
  fromSnapshot,
  prepend,
  type Transcript,
  type TurnItem,
} from '../src/lib/transcript';
import type { ChatFrame, Message } from '../src/lib/wire';
import { CHAT, generator, hex, snapshotAt, story } from './story';

const frames = (list: Record<string, unknown>[], from: Transcript = empty): Transcript =>
  list.reduce<Transcript>((now, frame) => applyFrame(now, { chatId: CHAT, ...frame } as unknown as ChatFrame), from);

const turn = (transcript: Transcript): TurnItem => transcript.items.find((item) => item.kind === 'turn')!;

const said = { type: 'user_message', content: 'hi', messageId: hex(1), timestamp: '2026-01-01T00:00:00Z', clientId: 'c1', queued: 0 };
const started = { type: 'turn_started', turnId: hex(2), messageIds: [hex(1)] };
const piece = (content: string, part = 3): Record<string, unknown> => ({
  type: 'assistant_message',
  turnId: hex(2),
  messageId: hex(part),
  content,
});

/** What a person sees, without what only those know who were there: thoughts, times, status lines. */
function seen(transcript: Transcript): unknown {
  return arrange(transcript, []).map((row) => {
    if (row.kind === 'user') return { text: row.item.text, id: row.item.id };
    if (row.kind !== 'turn') return row;
    return {
      id: row.item.id,
      state: row.item.state,
      failure: row.item.failure,
      blocks: row.item.blocks
        .filter((block) => block.kind !== 'reasoning')
        .map((block) => (block.kind === 'tool' ? { ...block, result: block.result && { ...block.result, durationMs: null } } : block)),
    };
  });
}

describe('a turn', () => {
  it('is written piece by piece', () => {
    const now = frames([said, started, piece('Hel'), piece('lo')]);
    expect(turn(now).blocks).toEqual([{ kind: 'text', id: hex(3), text: 'Hello' }]);
    expect(turn(now).state).toBe('running');
  });

  it('has one block for each text, and one for each call with its result', () => {
    const now = frames([
      said,
      started,
      piece('Let me look.'),
      { type: 'agent_status', turnId: hex(2), message: 'Reading a file' },
      { type: 'tool_use', turnId: hex(2), toolName: 'Read', toolId: 't1', toolInput: { path: 'a' } },
      { type: 'tool_use', turnId: hex(2), toolName: 'Read', toolId: 't2', toolInput: { path: 'b' } },
      { type: 'tool_result', turnId: hex(2), toolId: 't2', toolName: 'Read', output: 'no', isError: true, durationMs: 4 },
      piece('So.', 4),
    ]);
    expect(turn(now).blocks.map((block) => block.kind)).toEqual(['text', 'tool', 'tool', 'text']);
    expect(turn(now).blocks[1]).toMatchObject({ id: 't1', result: null });
    expect(turn(now).blocks[2]).toMatchObject({ id: 't2', result: { isError: true, durationMs: 4 } });
  });

  it('shows what it is doing until something else is seen', () => {
    const calls = frames([said, started, { type: 'agent_status', turnId: hex(2), message: 'Retrying' }]);
    expect(turn(calls).status).toBe('Retrying');
    expect(turn(frames([piece('x')], calls)).status).toBeNull();
  });

  it('ends with its outcome', () => {
    const now = frames([said, started, piece('x'), { type: 'result', turnId: hex(2), success: false, outcome: 'cancelled', cost: null, duration_ms: 9 }]);
    expect(turn(now)).toMatchObject({ state: 'cancelled', durationMs: 9 });
  });

  it('fails with a sentence', () => {
    const now = frames([said, started, { type: 'error', turnId: hex(2), error: 'Cut.', code: 'interrupted', retryable: true }]);
    expect(turn(now).failure).toEqual({ sentence: 'Cut.', code: 'interrupted', retryable: true });
  });

  it('is not ended by a refused frame', () => {
    const now = frames([said, started, { type: 'error', error: 'Nothing to cancel', code: 'nothing_to_cancel' }]);
    expect(turn(now).state).toBe('running');
  });

  it('keeps thoughts together', () => {
    const think = { type: 'assistant_reasoning', turnId: hex(2), content: 'hm' };
    const now = frames([said, started, think, think, piece('x'), think]);
    expect(turn(now).blocks.map((block) => block.kind)).toEqual(['reasoning', 'text', 'reasoning']);
    expect(turn(now).blocks[0]).toMatchObject({ text: 'hmhm' });
  });
});

describe('doubles', () => {
  it('a frame at the position where we are changes nothing', () => {
    const now = frames([said, started, { ...piece('x'), seq: '1.4.1' }]);
    expect(frames([{ ...piece('x'), seq: '1.4.1' }], now)).toBe(now);
  });

  it('a message, a call, a result and an end are known by their names', () => {
    const call = { type: 'tool_use', turnId: hex(2), toolName: 'Read', toolId: 't1', toolInput: {} };
    const result = { type: 'tool_result', turnId: hex(2), toolId: 't1', toolName: 'Read', output: 'a' };
    const end = { type: 'result', turnId: hex(2), success: true, outcome: 'completed', cost: null, duration_ms: 1 };
    const once = frames([said, started, call, result, end]);
    expect(seen(frames([said, started, call, result, end], once))).toEqual(seen(once));
  });
});

describe('any cut and any way back give the same view', () => {
  it.each(Array.from({ length: 60 }, (_, seed) => seed))('story %i', (seed) => {
    const steps = story(seed);
    const whole = steps.reduce((now, step) => applyFrame(now, step.frame), empty);
    const random = generator(seed + 1000);
    for (let cut = 0; cut <= steps.length; cut += 1) {
      // Reload: a snapshot of that moment, then the rest.
      const { messages, seq } = snapshotAt(steps, cut);
      // Whether or not the server says which turn answers which message.
      if (seed % 2 === 0) for (const message of messages) if (message.role === 'user') delete message.turnId;
      const rest = steps.slice(cut);
      const reloaded = rest.reduce((now, step) => applyFrame(now, step.frame), fromSnapshot(messages, seq, false));
      expect(seen(reloaded)).toEqual(seen(whole));

      // Break: the last frames are sent again from the last position that was kept.
      const before = steps.slice(0, cut).reduce((now, step) => applyFrame(now, step.frame), empty);
      const from = steps.findIndex((step) => step.frame.seq !== undefined && step.frame.seq === before.seq) + 1;
      const resumed = steps.slice(from).reduce((now, step) => applyFrame(now, step.frame), before);
      expect(resumed.items).toEqual(whole.items);

      // Pages: the snapshot in two parts, cut anywhere.
      const page = Math.floor(random() * (messages.length + 1));
      const newest = fromSnapshot(messages.slice(page), seq, page > 0);
      const paged = prepend(newest, messages.slice(0, page), false);
      expect(seen(paged)).toEqual(seen(fromSnapshot(messages, seq, false)));
      expect(Object.keys(paged.orphans)).toEqual([]);
    }
  });
});

describe('a snapshot', () => {
  const message = (fields: Partial<Message>): Message => ({ id: hex(9), role: 'assistant', createdAt: '', parts: [], ...fields });

  it('shows a turn that has begun and said nothing', () => {
    expect(turn(fromSnapshot([message({ turnId: hex(2), streaming: true })], '1', false)).state).toBe('running');
  });

  it('shows why a turn failed', () => {
    const now = fromSnapshot([message({ turnId: hex(2), status: 'failed', error: 'Cut.', errorCode: 'interrupted' })], '1', false);
    expect(turn(now)).toMatchObject({ state: 'failed', failure: { sentence: 'Cut.', code: 'interrupted', retryable: true } });
  });

  it('goes on in the text that was being written', () => {
    const text = { id: hex(3), type: 'text' as const, content: { text: 'Hel' }, order: 0 };
    const now = fromSnapshot([message({ turnId: hex(2), streaming: true, parts: [text] })], '1', false);
    expect(turn(frames([piece('lo')], now)).blocks).toEqual([{ kind: 'text', id: hex(3), text: 'Hello' }]);
  });

  it('brings the whole of an output that came cut short', () => {
    const now = frames([
      said,
      started,
      { type: 'tool_use', turnId: hex(2), toolName: 'Read', toolId: 't1', toolInput: {} },
      { type: 'tool_result', turnId: hex(2), toolId: 't1', toolName: 'Read', output: 'a', truncated: true, durationMs: 3 },
    ]);
    const result = { id: hex(8), type: 'tool_result' as const, content: { tool_use_id: 't1', content: 'all' }, order: 0 };
    const full = completeResults(now, [message({ role: 'user', parts: [result] })]);
    expect(turn(full).blocks[0]).toMatchObject({ result: { output: 'all', truncated: false, durationMs: 3 } });
  });
});
