// What people share and contacts never see, as pure functions: notes in their places among the messages, and canned replies.

import type { DeliveryStatus, HubFrame, Message, SenderType } from './hub';
import type { Frame } from './wire';

export interface Note {
  id: string;
  chat_id: string;
  /** The message behind which it stands. */
  after_message_id: string | null;
  content: string;
  /** Null for the owner, and for somebody whose account was removed. */
  user_id: string | null;
  username: string | null;
  by_owner: boolean;
  created_at: string;
  edited_at: string | null;
}

export type NoteFrame = { chat_id: string; channel_id: string } & (
  | { type: 'new_note' | 'note_updated'; note: Note }
  | { type: 'note_deleted'; note_id: string }
);

export const NOTE_EVENTS = ['new_note', 'note_updated', 'note_deleted'];
export const isNoteFrame = (frame: Frame | HubFrame | NoteFrame): frame is NoteFrame => NOTE_EVENTS.includes(frame.type);

export const MAX_NOTE_CHARS = 10_000;

/** Adds or replaces notes by id, the oldest first; of the same moment, those that were known first stand first. */
export function mergeNotes(list: Note[], fresh: Note[]): Note[] {
  const byId = new Map(list.map((note) => [note.id, note]));
  for (const note of fresh) byId.set(note.id, note);
  return [...byId.values()].sort((a, b) => (a.created_at < b.created_at ? -1 : a.created_at > b.created_at ? 1 : 0));
}

/** The notes after a frame. An edit also tells of a note whose beginning was missed. */
export const notesAfter = (list: Note[], frame: NoteFrame): Note[] =>
  frame.type === 'note_deleted' ? list.filter((note) => note.id !== frame.note_id) : mergeNotes(list, [frame.note]);

export type ThreadRow = { key: string; message: Message; note?: undefined } | { key: string; note: Note; message?: undefined };

/**
 * Messages with the notes in their places, each behind the message that was the newest when it was written. Both lists are the
 * oldest first. Notes from before the first message are left out while older messages are not shown (`hasOlder`).
 */
export function threadOf(messages: Message[], notes: Note[], hasOlder: boolean): ThreadRow[] {
  const at = new Map(messages.map((message, index) => [message.id, index]));
  const behind: Note[][] = messages.map(() => []);
  const first: Note[] = [];
  for (const note of notes) {
    // Of a message that is not here, its time has to do.
    const found = at.get(note.after_message_id ?? '') ?? messages.findLastIndex((message) => message.timestamp <= note.created_at);
    if (found >= 0) behind[found]?.push(note);
    else if (!hasOlder) first.push(note);
  }
  const ofNote = (note: Note): ThreadRow => ({ key: note.id, note });
  return [...first.map(ofNote), ...messages.flatMap((message, index) => [{ key: message.id, message }, ...(behind[index] ?? []).map(ofNote)])];
}

/** What became of one message of a channel, in either direction. */
export interface Passed {
  direction: 'in' | 'out';
  message_id: string;
  chat_id: string;
  chat_name: string;
  sender_type: SenderType;
  at: string;
  delivery_status: DeliveryStatus;
  attempts: number;
  next_at: string | null;
  error: string | null;
  error_code: string | null;
}

export interface Traffic {
  messages: Passed[];
  /** Requests that were turned away, the newest first. */
  refused: { at: string; error: string }[];
}

export interface SendTest {
  ok: boolean;
  ms: number;
  external_id: string | null;
  error: string | null;
  error_code: string | null;
}

export interface CannedReply {
  id: string;
  title: string;
  shortcut: string | null;
  content: string;
}

export type CannedFields = Pick<CannedReply, 'title' | 'shortcut' | 'content'>;

/** What may stand in braces, and what takes its place. */
export const VARIABLES = {
  contact: 'the contact’s name',
  first_name: 'its first word',
  phone: 'the contact’s number',
  channel: 'the channel’s name',
  me: 'your name',
} as const;
export type Variables = Record<keyof typeof VARIABLES, string>;

/** Fills in what is known, once: what is filled in is not looked at again. Other words in braces stay. */
export const filled = (content: string, values: Variables): string =>
  content.replaceAll(/\{([a-z_]+)\}/g, (whole, name: string) => (Object.hasOwn(values, name) ? values[name as keyof Variables] : whole));

/** Those that have all words, the ones first whose shortcut or title begins with them. */
export function foundReplies(list: CannedReply[], words: string): CannedReply[] {
  const wanted = words.trim().toLowerCase();
  if (wanted === '') return list;
  const rank = ({ title, shortcut, content }: CannedReply): number => {
    if (shortcut?.startsWith(wanted)) return 0;
    if (title.toLowerCase().startsWith(wanted)) return 1;
    const all = `${shortcut ?? ''} ${title} ${content}`.toLowerCase();
    return wanted.split(/\s+/).every((word) => all.includes(word)) ? 2 : 3;
  };
  return list
    .map((reply) => ({ reply, rank: rank(reply) }))
    .filter((one) => one.rank < 3)
    .sort((a, b) => a.rank - b.rank)
    .map((one) => one.reply);
}
