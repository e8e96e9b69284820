import { describe, expect, it } from 'vitest';

import type { Message } from '../src/lib/hub';
import { filled, foundReplies, mergeNotes, notesAfter, threadOf, type CannedReply, type Note } from '../src/lib/team';

const time = (second: number): string => `2026-11-20T10:00:${String(second).padStart(2, '0')}.000000`;
const message = (id: string, second: number): Message =>
  ({ id, chat_id: 'a', content: id, sender_type: 'CONTACT', timestamp: time(second) }) as Message;
const note = (id: string, second: number, after: string | null = null, content = id): Note => ({
  id,
  chat_id: 'a',
  after_message_id: after,
  content,
  user_id: 'user_1',
  username: 'ana',
  by_owner: false,
  created_at: time(second),
  edited_at: null,
});
const keys = (messages: Message[], notes: Note[], hasOlder = false): string =>
  threadOf(messages, notes, hasOlder).map((row) => row.key).join('');

describe('notes in their places', () => {
  const messages = [message('a', 1), message('b', 2), message('c', 2)];

  it('stand behind the message that was the newest, also where times are equal', () => {
    expect(keys(messages, [note('1', 2, 'a'), note('2', 2, 'b'), note('3', 2, 'b'), note('4', 9, 'c')])).toBe('a1b23c4');
  });

  it('stand where their time says, if that message is not here', () => {
    expect(keys(messages, [note('1', 0, 'x'), note('2', 5, 'y')])).toBe('1abc2');
    expect(keys(messages, [note('1', 0, 'x'), note('2', 5, 'y')], true), 'older ones come with their page').toBe('abc2');
    expect(keys([], [note('1', 0)])).toBe('1');
  });

  it('are each there once, whatever comes in which order', () => {
    let list = mergeNotes([], [note('1', 1), note('2', 2)]);
    list = notesAfter(list, { type: 'new_note', chat_id: 'a', channel_id: 'c', note: note('2', 2, null, 'again') });
    list = notesAfter(list, { type: 'note_updated', chat_id: 'a', channel_id: 'c', note: note('0', 0) });
    expect(list.map(({ content }) => content)).toEqual(['0', '1', 'again']);
    expect(notesAfter(list, { type: 'note_deleted', chat_id: 'a', channel_id: 'c', note_id: '1' })).toHaveLength(2);
  });
});

describe('canned replies', () => {
  const reply = (title: string, shortcut: string | null, content = ''): CannedReply => ({ id: title, title, shortcut, content });
  const all = [reply('Hours', 'open'), reply('Openings', null), reply('Bye', 'bye', 'We open again tomorrow')];
  const values = { contact: 'Zoe {me}', first_name: 'Zoe', phone: '', channel: 'Shop', me: 'ana' };

  it('are found by shortcut, then title, then words anywhere', () => {
    expect(foundReplies(all, 'open').map(({ id }) => id)).toEqual(['Hours', 'Openings', 'Bye']);
    expect(foundReplies(all, ' TOMORROW we ').map(({ id }) => id)).toEqual(['Bye']);
    expect(foundReplies(all, 'nothing')).toEqual([]);
    expect(foundReplies(all, '')).toBe(all);
  });

  it('are filled in once, and only with what is known', () => {
    expect(filled('Hi {contact}, {me} of {channel}. {"a": 1} {toString} {phone}.', values)).toBe(
      'Hi Zoe {me}, ana of Shop. {"a": 1} {toString} .',
    );
  });
});
