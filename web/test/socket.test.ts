import { describe, expect, it } from 'vitest';

import { initial, step, type Effect, type SocketEvent, type SocketState } from '../src/lib/socket';
import type { Frame } from '../src/lib/wire';
import { generator } from './story';

const A = 'a'.repeat(32);

function run(events: SocketEvent[], from: SocketState = initial, random = 0.5): { state: SocketState; effects: Effect[] } {
  let state = from;
  const effects: Effect[] = [];
  for (const event of events) {
    const next = step(state, event, random);
    state = next.state;
    effects.push(...next.effects);
  }
  return { state, effects };
}

const frame = (fields: Record<string, unknown>): SocketEvent => ({ type: 'frame', frame: fields as Frame });
const greeting = frame({ type: 'connected', message: 'Connected to chat server' });
const follow: SocketEvent = { type: 'follow', chatId: A, since: '1.1.0' };
const subscribed = frame({ type: 'subscribed', chatId: A, resumed: true });
const piece = (seq: string): SocketEvent => frame({ type: 'assistant_message', chatId: A, seq, content: 'x', messageId: A, turnId: A });
const cut = (code = 1006, reason = '', opened = true): SocketEvent => ({ type: 'closed', code, reason, opened });
const sent = (effects: Effect[]): unknown[] => effects.flatMap((effect) => (effect.type === 'send' ? [effect.frame] : []));
const delivered = (effects: Effect[]): unknown[] => effects.flatMap((effect) => (effect.type === 'deliver' ? [effect.frame.seq] : []));
const retry = (effects: Effect[]): number | undefined =>
  effects.flatMap((effect) => (effect.type === 'timer' && effect.name === 'retry' ? [effect.afterMs] : [])).at(-1);
const live = (): SocketState => run([{ type: 'start' }, follow, greeting, subscribed]).state;

describe('the socket', () => {
  it('asks for what is followed when it is greeted', () => {
    const { state, effects } = run([{ type: 'start' }, follow, greeting]);
    expect(state.phase).toBe('open');
    expect(sent(effects)).toEqual([{ type: 'subscribe', chatId: A, since: '1.1.0', include: ['reasoning'] }]);
  });

  it('comes back at the place after the last frame', () => {
    const { effects } = run([piece('1.2.0'), piece('1.2.5'), cut(), { type: 'timer', name: 'retry' }, greeting], live());
    expect(sent(effects)).toEqual([{ type: 'subscribe', chatId: A, since: '1.2.5', include: ['reasoning'] }]);
  });

  it('keeps the place over a frame that has none', () => {
    const { state } = run([piece('1.2.0'), frame({ type: 'agent_status', chatId: A, turnId: A, message: 'x' })], live());
    expect(state.following[A]!.since).toBe('1.2.0');
  });

  it('drops what comes before the answer to the last subscribe', () => {
    const again = run([follow, piece('1.2.0'), subscribed, piece('1.2.0')], live());
    expect(delivered(again.effects)).toEqual(['1.2.0']);
    const thrice = run([{ type: 'unfollow', chatId: A }, follow, follow, subscribed, piece('1.2.0'), subscribed, piece('1.2.0')], live());
    expect(delivered(thrice.effects)).toEqual(['1.2.0']);
  });

  it('asks for a snapshot when its place is unknown, and drops frames until it has one', () => {
    const lost = run([follow, frame({ type: 'error', chatId: A, code: 'bad_cursor', error: 'Unknown position' }), frame({ type: 'history', chatId: A, seq: '2.9.0', messages: [] }), piece('2.9.3')], live());
    expect(lost.effects).toContainEqual({ type: 'lost', chatId: A });
    expect(delivered(lost.effects)).toEqual([]);
    const found = run([{ type: 'follow', chatId: A, since: '2.9.3' }, piece('2.9.4'), subscribed, piece('2.9.4')], lost.state);
    expect(delivered(found.effects)).toEqual(['2.9.4']);
  });

  it('does not ask again for a place that it knows to be lost', () => {
    const lost = run([follow, frame({ type: 'error', chatId: A, code: 'bad_cursor', error: '' }), cut(), { type: 'timer', name: 'retry' }, greeting], live());
    expect(sent(lost.effects)).toHaveLength(1);
  });

  it('says when the conversation is gone', () => {
    const { state, effects } = run([follow, frame({ type: 'error', chatId: A, code: 'not_found', error: 'Chat not found' })], live());
    expect(effects).toContainEqual({ type: 'gone', chatId: A });
    expect(state.following).toEqual({});
  });

  it('takes no error of a turn for an answer of its own', () => {
    const { effects } = run([frame({ type: 'error', chatId: A, turnId: A, seq: '1.3.0', code: 'interrupted', error: '' })], live());
    expect(delivered(effects)).toEqual(['1.3.0']);
  });

  it('waits longer after each failure, and never longer than 15 s', () => {
    let state = run([{ type: 'start' }]).state;
    const pauses: number[] = [];
    for (let n = 0; n < 12; n += 1) {
      const failed = run([cut(1006, '', false)], state, 0.999);
      pauses.push(retry(failed.effects)!);
      state = run([{ type: 'timer', name: 'retry' }], failed.state).state;
    }
    expect(pauses[0]).toBeLessThan(500);
    expect([...pauses].sort((a, b) => a - b)).toEqual(pauses);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(15_000);
    expect(run([greeting], state).state.attempt).toBe(0);
  });

  it('obeys a server that restarts', () => {
    expect(retry(run([cut(1012, 'retry in 2345')], live()).effects)).toBe(2345);
    expect(retry(run([cut(1012, '')], live()).effects)).toBeLessThan(500);
  });

  it('gives a server time that was asked too much', () => {
    expect(retry(run([cut(4429)], live()).effects)).toBeGreaterThanOrEqual(10_000);
    expect(retry(run([cut(4408)], live()).effects)).toBeLessThan(500);
  });

  it.each([4401, 4403])('signs out on %i and does not come back by itself', (code) => {
    const { state, effects } = run([cut(code)], live());
    expect(state.phase).toBe('signed_out');
    expect(retry(effects)).toBeUndefined();
    expect(run([{ type: 'woken' }, { type: 'timer', name: 'retry' }], state).state.phase).toBe('signed_out');
    expect(run([{ type: 'start' }], state).state.phase).toBe('connecting');
  });

  it('finds out whether a refused upgrade means that nobody is signed in', () => {
    const refused = run([{ type: 'start' }, cut(1006, '', false)]);
    expect(refused.effects).toContainEqual({ type: 'probe' });
    expect(run([{ type: 'probed', answer: 'unknown' }], refused.state).state.phase).toBe('signed_out');
    expect(run([{ type: 'probed', answer: 'unreachable' }], refused.state).state.phase).toBe('waiting');
  });

  it('lets go of a connection that does not answer', () => {
    const silent = run([{ type: 'timer', name: 'ping' }, { type: 'timer', name: 'silence' }], live());
    expect(sent(silent.effects)).toEqual([{ type: 'ping' }]);
    expect(silent.effects).toContainEqual({ type: 'close' });
    const alive = run([{ type: 'timer', name: 'ping' }, frame({ type: 'pong' }), { type: 'timer', name: 'silence' }], live());
    expect(alive.effects).not.toContainEqual({ type: 'close' });
  });

  it('does not wait when the network is back', () => {
    const { effects } = run([{ type: 'woken' }], run([cut()], live()).state);
    expect(effects).toContainEqual({ type: 'open' });
  });

  it('survives any order of events, and delivers nothing twice', () => {
    for (let seed = 0; seed < 300; seed += 1) {
      const random = generator(seed);
      let state = run([{ type: 'start' }, follow]).state;
      // A server with a log: streams from where it was asked, one frame at a time.
      let log = 1;
      let stream = null as number | null;
      const wire: SocketEvent[] = [];
      const got: string[] = [];
      const happen = (event: SocketEvent): void => {
        const next = step(state, event, random());
        state = next.state;
        for (const effect of next.effects) {
          if (effect.type === 'deliver') got.push(effect.frame.seq!);
          if (effect.type === 'open') wire.push(greeting);
          if (effect.type === 'close') happen(cut());
          if (effect.type === 'send' && effect.frame.type === 'subscribe') {
            stream = Number(String(effect.frame.since).split('.')[1]);
            wire.push(subscribed);
          }
          if (effect.type === 'send' && effect.frame.type === 'unsubscribe') stream = null;
        }
      };
      wire.push(greeting);
      for (let n = 0; n < 120; n += 1) {
        const dice = random();
        if (dice < 0.3) log += 1;
        else if (dice < 0.5 && stream !== null && stream < log) wire.push(piece(`1.${(stream += 1)}.0`));
        else if (dice < 0.85) {
          const event = wire.shift();
          if (event) happen(event);
        } else if (dice < 0.92) {
          wire.length = 0;
          stream = null;
          happen(cut(1006, '', random() < 0.5));
          happen({ type: 'timer', name: 'retry' });
        } else if (dice < 0.96) {
          const since = got.length === 0 ? '1.1.0' : got.at(-1)!;
          happen({ type: 'unfollow', chatId: A });
          happen({ type: 'follow', chatId: A, since });
        } else happen({ type: 'woken' });
      }
      expect(got).toEqual(got.map((_, i) => `1.${i + 2}.0`));
    }
  });
});
