import { describe, expect, it } from 'vitest';

import { answerText, chosenIn } from '../src/lib/answers';
import { AssistantProtocol } from '../src/lib/assistant_frames';
import { languageOf } from '../src/lib/languages';
import { mergeNumbered } from '../src/lib/paging';
import { arrange, isBusy } from '../src/lib/rows';
import { initial, step, type SocketState } from '../src/lib/socket';
import { applyFrame, empty, type Transcript, type TurnItem } from '../src/lib/transcript';
import type { ChatFrame, Choice, Frame } from '../src/lib/wire';
import { generator } from './story';

const CHAT = '7';
const T1 = '11111111-1111-1111-1111-111111111111';
const T2 = '22222222-2222-2222-2222-222222222222';
const CHOICES: Choice[] = [
  { question: 'Which?', header: 'Db', options: [{ label: 'SQLite', description: 'small' }, { label: 'PostgreSQL', description: '' }], multiSelect: false },
];

let position = 0;
const at = (turn: string, fields: Record<string, unknown>): Frame => {
  position += 1;
  return { conversation_id: 7, turn_id: turn, seq: `1.${position}.0`, ...fields } as unknown as Frame;
};
const person = (turn: string, id: number, content: string): Frame => at(turn, { type: 'user_message', message_id: id, content, queued: 0, client_id: `c${id}` });
const piece = (turn: string, content: string): Frame => at(turn, { type: 'text', content });
const done = (turn: string, outcome = 'done'): Frame => at(turn, { type: 'response_done', outcome });

/** What a page shows that received these frames over one socket or several, each beginning where the last one ended. */
function show(...sockets: Frame[][]): Transcript {
  let now = empty;
  const protocol = new AssistantProtocol();
  for (const frames of sockets) {
    protocol.opened();
    protocol.send({ type: 'subscribe', chatId: CHAT, since: now.seq ?? '0' });
    for (const frame of frames) {
      for (const one of protocol.receive(frame).frames) now = applyFrame(now, one as unknown as ChatFrame);
    }
  }
  return now;
}

const turns = (now: Transcript): TurnItem[] => now.items.filter((item) => item.kind === 'turn');

const TALK: Frame[] = [
  at(T1.replaceAll('1', '0'), { type: 'text', content: 'Hello!' }),
  done(T1.replaceAll('1', '0')),
  person(T1, 1, 'Where?'),
  piece(T1, 'I '),
  piece(T1, 'look.'),
  at(T1, { type: 'tool_call', id: 'a', tool: 'Read', input: { file_path: 'a.rs' } }),
  at(T1, { type: 'tool_result', id: 'a', tool: 'Read', is_error: false, preview: 'fn a() {}' }),
  piece(T1, 'See `a.rs:1`.'),
  at(T1, { type: 'question', question_id: 'q', questions: CHOICES }),
  done(T1, 'question'),
  person(T2, 2, 'SQLite'),
  piece(T2, 'Noted.'),
  at(T2, { type: 'error', content: 'Error: the provider is gone', code: 'provider_unavailable' }),
];

describe('the frames of the assistant', () => {
  it('become a transcript: text, calls with their results, a question and its answer, a failure', () => {
    const now = show(TALK);
    const [greeting, first, second] = turns(now);
    expect(greeting!.blocks).toMatchObject([{ kind: 'text', text: 'Hello!' }]);
    expect(first!.blocks).toMatchObject([
      { kind: 'text', text: 'I look.' },
      { kind: 'tool', name: 'Read', result: { output: 'fn a() {}', isError: false, truncated: false } },
      { kind: 'text', text: 'See `a.rs:1`.' },
      { kind: 'question', questions: CHOICES, answer: 'SQLite' },
    ]);
    expect(first!.state).toBe('asked');
    expect(second!.failure).toEqual({ sentence: 'The provider is gone', code: 'provider_unavailable', retryable: true });
    const rows = arrange(now, []);
    expect(rows.map((row) => (row.kind === 'turn' ? row.question : row.key))).toEqual([null, 'c:c1', 'Where?', 'c:c2', 'SQLite']);
  });

  it('are the same wherever the connection broke', () => {
    const whole = JSON.stringify(show(TALK));
    for (let cut = 0; cut <= TALK.length; cut += 1) {
      const before = show(TALK.slice(0, cut));
      const after = show(TALK.slice(0, cut), TALK.slice(cut));
      expect(JSON.stringify(after), `cut at ${cut}`).toBe(whole);
      expect(turns(before).length).toBeLessThanOrEqual(turns(after).length);
    }
  });

  it('speak the language of the state machine', () => {
    const protocol = new AssistantProtocol();
    let state: SocketState = initial;
    const sent: unknown[] = [];
    const delivered: string[] = [];
    const happened = (event: Parameters<typeof step>[1]): void => {
      const next = step(state, event, 0.5);
      state = next.state;
      for (const effect of next.effects) {
        if (effect.type === 'send') sent.push(protocol.send(effect.frame));
        if (effect.type === 'deliver') delivered.push(effect.frame.type);
      }
    };
    happened({ type: 'follow', chatId: CHAT, since: '0' });
    happened({ type: 'start' });
    for (const frame of protocol.opened()) happened({ type: 'frame', frame });
    expect(sent).toEqual([{ type: 'start', conversation_id: 7, since: '0', notices: true }]);
    for (const frame of TALK.slice(2, 4).flatMap((one) => protocol.receive(one).frames)) happened({ type: 'frame', frame });
    expect(delivered).toEqual(['user_message', 'turn_started', 'assistant_message']);
    expect(state.following[CHAT]).toEqual({ since: TALK[3]!.seq, state: 'live' });
    happened({ type: 'timer', name: 'ping' });
    expect(sent.at(-1)).toEqual({ type: 'ping' });
    for (const frame of protocol.receive({ type: 'pong' }).frames) happened({ type: 'frame', frame });
    expect(state.pinged).toBe(false);
  });

  it('say that a position is lost, and that there is nothing', () => {
    for (const [code, how] of [['bad_cursor', 'lost'], ['not_found', 'gone']] as const) {
      const protocol = new AssistantProtocol();
      let { state } = step(initial, { type: 'follow', chatId: CHAT, since: '9.9.9' }, 0);
      ({ state } = step(state, { type: 'start' }, 0));
      for (const frame of protocol.opened()) ({ state } = step(state, { type: 'frame', frame }, 0));
      protocol.send({ type: 'subscribe', chatId: CHAT, since: '9.9.9' });
      const received = protocol.receive({ type: 'error', content: 'x', code, turn_id: null } as unknown as Frame);
      expect(received.close, 'the socket may be bound to something else now').toBe(true);
      expect(step(state, { type: 'frame', frame: received.frames[0]! }, 0).effects).toContainEqual({ type: how, chatId: CHAT });
    }
  });

  it('say that a conversation was deleted while it was watched', () => {
    const protocol = new AssistantProtocol();
    let { state } = step(initial, { type: 'follow', chatId: CHAT, since: '0' }, 0);
    ({ state } = step(state, { type: 'start' }, 0));
    for (const frame of protocol.opened()) ({ state } = step(state, { type: 'frame', frame }, 0));
    protocol.send({ type: 'subscribe', chatId: CHAT, since: '0' });
    for (const frame of protocol.receive({ type: 'response_done', conversation_id: 7 } as unknown as Frame).frames) {
      ({ state } = step(state, { type: 'frame', frame }, 0));
    }
    const { frames, close } = protocol.receive({ type: 'conversation_deleted', conversation_id: 7 } as unknown as Frame);
    expect(close).toBe(true);
    expect(step(state, { type: 'frame', frame: frames[0]! }, 0).effects).toContainEqual({ type: 'deliver', frame: { type: 'chat_removed', chatId: CHAT } });
  });

  it('tell of other mistakes nothing', () => {
    const protocol = new AssistantProtocol();
    protocol.opened();
    expect(protocol.receive({ type: 'error', content: 'Too many requests', code: 'rate_limited', turn_id: null } as unknown as Frame)).toEqual({ frames: [] });
    expect(protocol.send({ type: 'unsubscribe', chatId: CHAT })).toBeNull();
  });
});

describe('a question', () => {
  const asked = [person(T1, 1, 'Plan'), at(T1, { type: 'question', question_id: 'q', questions: CHOICES }), done(T1, 'question')];

  it('waits for whatever is said next, and for that only', () => {
    const open = show(asked);
    expect(turns(open)[0]!.blocks).toMatchObject([{ kind: 'question', answer: null }]);
    expect(isBusy(arrange(open, []))).toBe(false);
    const answered = show([...asked, person(T2, 2, 'Neither'), person(T2, 3, 'More')]);
    expect(turns(answered)[0]!.blocks).toMatchObject([{ kind: 'question', answer: 'Neither' }]);
  });

  it('is not answered by what was said before it was asked', () => {
    const [first, question, end] = asked as [Frame, Frame, Frame];
    const open = show([first, piece(T1, 'Hm. '), person(T2, 2, 'And this?'), question, end]);
    expect(turns(open)[0]!.blocks.at(-1)).toMatchObject({ kind: 'question', answer: null });
    const rows = arrange(open, []);
    expect(rows.at(-1)).toMatchObject({ kind: 'user', waiting: 'queued' });
    expect(isBusy(rows)).toBe(false);
  });

  it('has an answer in words as the server writes them', () => {
    expect(answerText([['SQLite'], ['Tests', 'Docs'], []])).toBe('SQLite; Tests, Docs');
    const several: Choice[] = [...CHOICES, { question: 'What?', header: '', options: ['Tests', 'Docs', 'More'].map((label) => ({ label, description: '' })), multiSelect: true }];
    expect(chosenIn(several, 'SQLite; Tests, Docs')).toEqual([['SQLite'], ['Tests', 'Docs']]);
    expect(chosenIn(several, 'as you like')).toEqual([[], []]);
    expect(chosenIn(CHOICES, 'SQLite, or not')).toEqual([[]]);
  });
});

describe('the list of a project', () => {
  it('is in the order of the server', () => {
    const random = generator(5);
    const all = Array.from({ length: 30 }, (_, id) => ({ id, updated_at: `2026-01-01T00:00:0${Math.floor(random() * 4)}Z` }));
    const merged = mergeNumbered(all.slice(0, 20), all.slice(10));
    expect(merged).toHaveLength(30);
    merged.slice(1).forEach((one, i) => {
      const before = merged[i]!;
      expect(before.updated_at > one.updated_at || (before.updated_at === one.updated_at && before.id > one.id)).toBe(true);
    });
  });
});

describe('the language of a file', () => {
  it('comes from its name', () => {
    expect(['src/main.rs', 'a/B.TSX', 'Makefile', 'x.constructor', 'README.md'].map(languageOf)).toEqual(['rust', 'typescript', '', '', 'markdown']);
  });
});
