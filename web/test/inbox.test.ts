import { describe, expect, it } from 'vitest';

import type { Attachment, Chat, Filter, HubFrame, Message } from '../src/lib/hub';
import {
  afterFrame,
  belongs,
  failureOf,
  floorWords,
  isWithin,
  lookOf,
  mergeChats,
  messagesAfter,
  prependMessages,
  refreshChats,
  refreshMessages,
  replyHint,
  sizeWords,
  wordsOf,
} from '../src/lib/inbox';
import { initial, step, type Effect, type SocketEvent, type SocketState } from '../src/lib/socket';
import type { Frame } from '../src/lib/wire';
import { generator } from './story';

const chat = (id: string, minute = 0, more: Partial<Chat> = {}): Chat => ({
  id,
  name: id,
  external_id: '1',
  channel_id: 'channel_a',
  channel_name: 'A',
  contact_id: 'contact_a',
  customer_phone: null,
  assigned_user_id: null,
  assigned_user_name: null,
  is_assigned: false,
  last_message_ts: `2026-11-20T10:${String(minute).padStart(2, '0')}:00.000000`,
  last_sender_type: 'CONTACT',
  last_message: 'hi',
  unread_count: 1,
  floor: { holder: 'agent', user_id: null, until: null },
  needs_attention: false,
  warning: null,
  window: null,
  opted_out: false,
  ...more,
});
const message = (id: string, second: number, more: Partial<Message> = {}): Message => ({
  id,
  external_id: null,
  chat_id: 'a',
  content: id,
  sender_type: 'CONTACT',
  sender_id: null,
  timestamp: `2026-11-20T10:00:${String(second).padStart(2, '0')}.000000`,
  meta_data: {},
  readed: false,
  delivery_status: 'SENT',
  attachments: [],
  edited_at: null,
  ...more,
});
const said = (id: string, second: number, more: Record<string, unknown> = {}): HubFrame =>
  ({
    type: 'new_message',
    chat_id: 'a',
    channel_id: 'channel_a',
    message_id: id,
    sender_type: 'CONTACT',
    sender_id: null,
    timestamp: `2026-11-20T10:00:${String(second).padStart(2, '0')}.000000`,
    external_id: null,
    content: id,
    unread_count: 2,
    metadata: {},
    ...more,
  }) as HubFrame;
const names = (list: { id: string }[]): string => list.map((one) => one.id).join('');
const everything: Filter = { channel: null, kind: 'all', words: '' };

describe('the list of chats', () => {
  it('has the newest first, and each once', () => {
    expect(names(mergeChats([chat('a', 1), chat('b', 2)], [chat('a', 3), chat('c', 0)]))).toBe('abc');
  });

  it('forgets at the top what is gone, and keeps the older pages', () => {
    const list = [chat('a', 9), chat('b', 8), chat('c', 5), chat('d', 1)];
    expect(names(refreshChats(list, [chat('a', 9), chat('c', 5)], false))).toBe('acd');
    expect(names(refreshChats(list, [chat('a', 9)], true))).toBe('a');
  });

  it('takes in nothing behind which pages are missing', () => {
    const list = [chat('b', 5), chat('a', 4)];
    expect(isWithin(list, chat('z', 1), true)).toBe(false);
    expect(isWithin(list, chat('z', 1), false)).toBe(true);
    expect(isWithin(list, chat('z', 6), true)).toBe(true);
  });

  it('knows what belongs to it', () => {
    expect(belongs(chat('a'), everything, null)).toBe(true);
    expect(belongs(chat('a'), { ...everything, channel: 'channel_b' }, null)).toBe(false);
    expect(belongs(chat('a'), { ...everything, kind: 'attention' }, null)).toBe(false);
    expect(belongs(chat('a', 0, { needs_attention: true }), { ...everything, kind: 'attention' }, null)).toBe(true);
    const mine = { ...everything, kind: 'mine' } as const;
    expect(belongs(chat('a', 0, { assigned_user_id: 'user_1', is_assigned: true }), mine, 'user_1')).toBe(true);
    expect(belongs(chat('a'), mine, null), 'the owner has no account, and nobody is not the owner').toBe(false);
  });

  it('learns from frames', () => {
    const next = afterFrame(chat('a'), said('m', 30, { content: 'new', sender_type: 'AGENT' }));
    expect(next).toMatchObject({ last_message: 'new', last_sender_type: 'AGENT', unread_count: 2 });
    expect(afterFrame(chat('a'), { type: 'chat_deleted', chat_id: 'a', channel_id: 'channel_a' })).toBeNull();
    const told = chat('a', 7, { needs_attention: true });
    expect(afterFrame(chat('a'), { type: 'chat_updated', chat_id: 'a', channel_id: 'channel_a', chat_data: told })).toBe(told);
  });
});

describe('the messages of a chat', () => {
  it('are in the order in which they were said, and each is there once', () => {
    let list: Message[] = [];
    for (const frame of [said('a', 1), said('c', 3), said('b', 2), said('c', 3)]) list = messagesAfter(list, frame);
    expect(names(list)).toBe('abc');
    expect(names(prependMessages(list, [message('z', 0), message('a', 1)]))).toBe('zabc');
  });

  it('learn what became of them', () => {
    const failed: HubFrame = {
      type: 'message_updated',
      chat_id: 'a',
      channel_id: 'channel_a',
      message_id: 'a',
      delivery_status: 'FAILED',
      external_id: null,
      readed: false,
      content: 'a',
      metadata: { platform_error: 'no', platform_error_code: 400 },
      attachments: [],
    };
    const [after] = messagesAfter([message('a', 1, { sender_type: 'USER', delivery_status: 'PENDING' })], failed);
    expect(after!.delivery_status).toBe('FAILED');
    expect(failureOf(after!)).toBe('no (400)');
    expect(failureOf(message('b', 1, { meta_data: { platform_error_type: 'superseded' } }))).toMatch(/took over/);
    expect(failureOf(message('b', 1))).not.toBe('');
  });

  it('are read anew without a gap: older pages stay only if the new one reaches them', () => {
    const list = [message('a', 1), message('b', 2), message('c', 3)];
    expect(refreshMessages(list, [message('c', 3), message('d', 4)], true)).toMatchObject({ kept: true });
    expect(names(refreshMessages(list, [message('c', 3), message('d', 4)], true).messages)).toBe('abcd');
    expect(names(refreshMessages(list, [message('x', 8), message('y', 9)], true).messages)).toBe('xy');
    expect(names(refreshMessages(list, [message('b', 2)], false).messages), 'the page is everything there is').toBe('b');
  });
});

describe('what an operator is told', () => {
  const users = [{ id: 'user_1', username: 'ana', role: 'ADMIN' as const, is_active: true }];
  const held = (id: string | null): Chat => chat('a', 0, { floor: { holder: 'user', user_id: id, until: null } });

  it('who answers', () => {
    expect(floorWords(held('user_1'), 'user_1', users).holder).toBe('me');
    expect(floorWords(held('user_1'), 'user_2', users)).toMatchObject({ holder: 'other', text: 'ana has taken over.' });
    expect(floorWords(held(null), 'user_1', users).text).toMatch(/^The owner/);
    expect(floorWords(held(null), null, users).holder, 'the owner is asked').toBe('me');
    expect(floorWords(chat('a'), null, users).busy).toBe(true);
    expect(floorWords(chat('a', 0, { needs_attention: true }), null, users).busy, 'it has given up').toBe(false);
  });

  it('when free text can be sent', () => {
    const now = new Date('2026-11-20T12:00:00Z');
    expect(replyHint(chat('a'), now)).toBeNull();
    expect(replyHint(chat('a', 0, { window: { open: true, until: '2026-11-20T12:30:00.000000' } }), now)?.blocked).toBe(false);
    const late = new Date('2026-11-20T12:30:01Z');
    expect(replyHint(chat('a', 0, { window: { open: true, until: '2026-11-20T12:30:00.000000' } }), late)?.blocked).toBe(true);
    expect(replyHint(chat('a', 0, { window: { open: false, until: null } }), now)?.blocked).toBe(true);
    expect(replyHint(chat('a', 0, { opted_out: true }), now)?.blocked).toBe(true);
  });
});

describe("the hub's events on the socket", () => {
  const frame = (fields: Record<string, unknown>): SocketEvent => ({ type: 'frame', frame: fields as unknown as Frame });
  const greeting = frame({ type: 'connected' });
  const ack = frame({ type: 'subscription_ack', subscribed_to: [] });
  const event = (seq: number): SocketEvent => frame({ type: 'new_message', chat_id: 'a', seq });
  const cut: SocketEvent = { type: 'closed', code: 1006, reason: '', opened: true };
  const again: SocketEvent = { type: 'timer', name: 'retry' };

  function run(events: SocketEvent[], from: SocketState = initial): { state: SocketState; effects: Effect[] } {
    let state = from;
    const effects: Effect[] = [];
    for (const one of events) {
      const next = step(state, one, 0.5);
      state = next.state;
      effects.push(...next.effects);
    }
    return { state, effects };
  }
  const seqs = (effects: Effect[]): unknown[] => effects.flatMap((one) => (one.type === 'hub' ? [one.frame.seq] : []));
  const asks = (effects: Effect[]): unknown[] => effects.flatMap((one) => (one.type === 'send' ? [one.frame] : []));
  const lost = (effects: Effect[]): number => effects.filter((one) => one.type === 'hub_lost').length;

  it('are asked for by whoever wants them, and go on behind the last one', () => {
    expect(asks(run([{ type: 'start' }, greeting]).effects)).toEqual([]);
    const first = run([{ type: 'start' }, greeting, { type: 'follow_hub' }, ack, event(5), event(8)]);
    expect(asks(first.effects)).toEqual([{ type: 'subscribe', channels: [], notes: true }]);
    expect(lost(first.effects), 'what was before is read').toBe(1);
    expect(seqs(first.effects)).toEqual([5, 8]);
    const back = run([cut, again, greeting, ack, event(9)], first.state);
    expect(asks(back.effects)).toEqual([{ type: 'subscribe', channels: [], notes: true, after: 8 }]);
    expect(lost(back.effects)).toBe(0);
    expect(seqs(back.effects)).toEqual([9]);
  });

  it('leave nothing out where there is no place to go on from', () => {
    const first = run([{ type: 'start' }, greeting, { type: 'follow_hub' }, ack]);
    expect(lost(run([cut, again, greeting, ack], first.state).effects)).toBe(1);
    expect(lost(run([frame({ type: 'resync' })], first.state).effects)).toBe(1);
  });

  it('tell of a server whose data were put back', () => {
    const { state } = run([{ type: 'start' }, greeting, { type: 'follow_hub' }, ack, event(80)]);
    const older = run([event(3), event(4)], state);
    expect(lost(older.effects)).toBe(1);
    expect(seqs(older.effects)).toEqual([4]);
  });

  it('come once each, however often the connection breaks', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const random = generator(seed);
      let state = run([{ type: 'start' }, greeting, { type: 'follow_hub' }, ack, event(1)]).state;
      const got: unknown[] = [1];
      let log = 1;
      for (let round = 0; round < 20; round += 1) {
        if (random() < 0.4) log += 1;
        if (random() < 0.5) {
          const asked = run([cut, again, greeting], state);
          const after = (asks(asked.effects)[0] as { after: number }).after;
          const missed = Array.from({ length: log - after }, (_, index) => event(after + 1 + index));
          const caught = run([ack, ...missed], asked.state);
          got.push(...seqs(caught.effects));
          state = caught.state;
        }
      }
      expect(got).toEqual(Array.from({ length: got.length }, (_, index) => index + 1));
    }
  });
});

describe('files of messages', () => {
  const file = (more: Partial<Attachment> = {}): Attachment => ({
    id: 'file_1',
    mime_type: 'image/png',
    size: 812,
    url: '/channels/a/chats/b/attachments/file_1',
    name: null,
    state: 'stored',
    error: null,
    ...more,
  });

  it('are shown only if nothing of them can run', () => {
    const looks = ['image/png', 'image/svg+xml', 'audio/ogg', 'audio/amr', 'video/mp4', 'application/pdf', 'text/html'];
    expect(looks.map((mime_type) => lookOf(file({ mime_type })))).toEqual(['image', 'file', 'audio', 'file', 'video', 'file', 'file']);
    expect(lookOf(file({ state: 'fetching' }))).toBe('file');
  });

  it('leave the words that were written beside them', () => {
    const content = '[IMAGE Message] https://a.example/1\nlook\nat this';
    expect(wordsOf(message('m', 1, { content, attachments: [file()] }))).toBe('look\nat this');
    expect(wordsOf(message('m', 1, { content: '[IMAGE Message] x', attachments: [file()] }))).toBe('');
    expect(wordsOf(message('m', 1, { content: 'two\nlines' }))).toBe('two\nlines');
  });

  it('come when they are here', () => {
    const before = [message('m', 1, { attachments: [file({ state: 'fetching', size: 0 })] })];
    const told = { type: 'message_updated', message_id: 'm', content: 'm', metadata: {}, attachments: [file()] };
    expect(messagesAfter(before, told as unknown as HubFrame)[0]?.attachments).toEqual([file()]);
  });

  it('have a size in words', () => {
    expect([812, 34_200, 1_234_567].map(sizeWords)).toEqual(['812 bytes', '34 KB', '1.2 MB']);
  });
});
