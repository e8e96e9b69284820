// The requests for what people share: notes, canned replies, and the console of a channel.

import { json, query, send } from './api';
import { channelPath, chatPath, type Place } from './hub';
import type { CannedFields, CannedReply, Note, SendTest, Traffic } from './team';

const NOTES_PAGE = 100;
/** More notes than this are not read at once; nobody could. */
const NOTES_PAGES = 10;

/** All notes behind `after` (or a later message) and before `before`; both name messages. */
export async function notes(place: Place, after?: string, before?: string): Promise<Note[]> {
  const all: Note[] = [];
  for (let page = 0; page < NOTES_PAGES; page += 1) {
    const fields = { limit: NOTES_PAGE, offset: all.length, after, before };
    const got = await json<{ notes: Note[]; has_more: boolean }>(`${chatPath(place)}/notes${query(fields)}`);
    all.push(...got.notes);
    if (!got.has_more) break;
  }
  return all;
}

export const addNote = (place: Place, content: string, key: string): Promise<Note> =>
  json(`${chatPath(place)}/notes`, { method: 'POST', body: { content }, idempotencyKey: key });
export const editNote = (place: Place, note: string, content: string): Promise<Note> =>
  json(`${chatPath(place)}/notes/${note}`, { method: 'PUT', body: { content } });
export const removeNote = (place: Place, note: string): Promise<void> =>
  send(`${chatPath(place)}/notes/${note}`, { method: 'DELETE' });

export const traffic = (channel: string): Promise<Traffic> => json(`${channelPath(channel)}/traffic`);

export const testChannel = (channel: string, to: string, text: string): Promise<SendTest> =>
  json(`${channelPath(channel)}/test`, { method: 'POST', body: { to, text } });

export const cannedReplies = async (): Promise<CannedReply[]> =>
  (await json<{ canned_replies: CannedReply[] }>('canned-replies')).canned_replies;
export const createCanned = (fields: CannedFields, key: string): Promise<CannedReply> =>
  json('canned-replies', { method: 'POST', body: fields, idempotencyKey: key });
export const changeCanned = (id: string, fields: CannedFields): Promise<CannedReply> =>
  json(`canned-replies/${id}`, { method: 'PUT', body: fields });
export const removeCanned = (id: string): Promise<void> => send(`canned-replies/${id}`, { method: 'DELETE' });
