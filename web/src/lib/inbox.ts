// What the inbox shows, as pure functions: lists that pages and live frames change, and what they are in words.

import type { Attachment, Chat, Filter, HubFrame, Message, User } from './hub';
import { clock, utc } from './time';

/** The server's order: what was written last stands first. */
const newestFirst = (a: Chat, b: Chat): number =>
  (b.last_message_ts ?? '').localeCompare(a.last_message_ts ?? '') || b.id.localeCompare(a.id);

/** Adds or replaces chats by id. */
export function mergeChats(list: Chat[], fresh: Chat[]): Chat[] {
  const byId = new Map(list.map((chat) => [chat.id, chat]));
  for (const chat of fresh) byId.set(chat.id, chat);
  return [...byId.values()].sort(newestFirst);
}

/** A fresh first page: replaces what it covers, drops what it should have covered and does not, keeps older pages behind it. */
export function refreshChats(list: Chat[], top: Chat[], complete: boolean): Chat[] {
  const last = top.at(-1);
  if (complete || !last) return mergeChats([], top);
  const covered = new Set(top.map((chat) => chat.id));
  return mergeChats(list.filter((chat) => !covered.has(chat.id) && newestFirst(last, chat) < 0), top);
}

/** Whether the list reaches so far: behind its end, pages are missing that stand between. */
export function isWithin(list: Chat[], chat: Chat, more: boolean): boolean {
  const last = list.at(-1);
  return !more || last === undefined || newestFirst(chat, last) < 0;
}

/** Whether a chat that is known belongs into the list. Words are looked up by the server only. */
export function belongs(chat: Chat, { channel, kind }: Filter, me: string | null): boolean {
  if (channel !== null && chat.channel_id !== channel) return false;
  if (kind === 'attention') return chat.needs_attention;
  if (kind === 'unread') return chat.unread_count > 0;
  if (kind === 'waiting') return isWaiting(chat);
  if (kind === 'unassigned') return !chat.is_assigned;
  if (kind === 'mine') return chat.assigned_user_id !== null && chat.assigned_user_id === me;
  return true;
}

/** Whether a person has to do something here: it was asked for, or the contact has the last word and no agent answers. */
export const isWaiting = (chat: Chat): boolean =>
  chat.needs_attention || (chat.floor.holder !== 'agent' && chat.last_sender_type === 'CONTACT');

/** The chat after a frame about it; null if it is gone. */
export function afterFrame(chat: Chat, frame: HubFrame): Chat | null {
  switch (frame.type) {
    case 'chat_deleted':
      return null;
    case 'chat_updated':
      return frame.chat_data;
    case 'message_updated':
      return chat;
    case 'new_message':
      return {
        ...chat,
        last_message: frame.content,
        last_message_ts: frame.timestamp,
        last_sender_type: frame.sender_type,
        unread_count: frame.unread_count,
      };
  }
}

const oldestFirst = (a: Message, b: Message): number =>
  a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0;

/** Adds or replaces messages by id; of the same moment, those that were known first stand first. */
export function mergeMessages(list: Message[], fresh: Message[]): Message[] {
  const byId = new Map(list.map((message) => [message.id, message]));
  for (const message of fresh) byId.set(message.id, message);
  return [...byId.values()].sort(oldestFirst);
}

/** An older page, in front. */
export const prependMessages = (list: Message[], older: Message[]): Message[] => {
  const known = new Set(list.map((message) => message.id));
  return [...older.filter((message) => !known.has(message.id)), ...list];
};

/**
 * The newest page, read anew: older pages stay if it reaches back to them without a gap.
 * `page` is the oldest first.
 */
export function refreshMessages(list: Message[], page: Message[], hasOlder: boolean): { messages: Message[]; kept: boolean } {
  const at = list.findIndex((message) => message.id === page[0]?.id);
  return at < 0 || !hasOlder ? { messages: page, kept: false } : { messages: [...list.slice(0, at), ...page], kept: true };
}

/** The messages after a frame about their chat. */
export function messagesAfter(list: Message[], frame: HubFrame): Message[] {
  if (frame.type === 'new_message') {
    // What is known already is known better: the frame has less than the answer to a request.
    return list.some((message) => message.id === frame.message_id) ? list : mergeMessages(list, [newMessage(frame)]);
  }
  if (frame.type !== 'message_updated') return list;
  return list.map((message) =>
    message.id === frame.message_id
      ? {
          ...message,
          content: frame.content,
          delivery_status: frame.delivery_status,
          external_id: frame.external_id,
          readed: frame.readed,
          meta_data: frame.metadata,
          attachments: frame.attachments,
        }
      : message,
  );
}

const newMessage = (frame: HubFrame & { type: 'new_message' }): Message => ({
  id: frame.message_id,
  external_id: frame.external_id,
  chat_id: frame.chat_id,
  content: frame.content,
  sender_type: frame.sender_type,
  sender_id: frame.sender_id,
  timestamp: frame.timestamp,
  meta_data: frame.metadata,
  readed: false,
  delivery_status: frame.sender_type === 'CONTACT' ? 'SENT' : 'PENDING',
  attachments: frame.attachments,
  edited_at: null,
});

/** What was written beside the files: each file has a line of its own before it. */
export const wordsOf = (message: Message): string => message.content.split('\n').slice(message.attachments.length).join('\n');

/** How a file is shown. What a browser would have to run something for is only saved. */
export function lookOf({ mime_type: type, state }: Attachment): 'image' | 'audio' | 'video' | 'file' {
  if (state !== 'stored') return 'file';
  if (['image/jpeg', 'image/png', 'image/gif', 'image/webp', 'image/avif'].includes(type)) return 'image';
  if (type.startsWith('audio/') && type !== 'audio/amr') return 'audio';
  return type === 'video/mp4' || type === 'video/webm' || type === 'video/3gpp' ? 'video' : 'file';
}

/** `812 bytes`, `34 KB`, `1.2 MB`. */
export function sizeWords(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

const REASONS: Record<string, string> = {
  superseded: 'A person took over before it was sent.',
  opted_out: 'The contact does not want messages any more.',
  window_closed: 'The time for free text is over; the platform takes templates only.',
  not_supported: 'The platform does not take this.',
  unknown: 'The platform did not say what became of it.',
};

/** Why a message was not delivered, in words. */
export function failureOf(message: Message): string {
  const { platform_error: told, platform_error_type: type, platform_error_code: code } = message.meta_data;
  const words = typeof told === 'string' && told !== '' ? told : null;
  const number = typeof code === 'string' || typeof code === 'number' ? ` (${code})` : '';
  return words ? `${words}${number}` : (REASONS[String(type)] ?? 'The platform did not take it.');
}

export const STATUS_WORDS = {
  PENDING: 'Waiting to be sent',
  SENT: 'Sent',
  DELIVERED: 'Delivered',
  READ: 'Read',
  FAILED: 'Not delivered',
} as const;

export interface FloorWords {
  holder: 'agent' | 'me' | 'other' | 'nobody';
  text: string;
  /** An answer of an agent is on its way. */
  busy: boolean;
}

/** Who answers. `me` is null for the owner, who has no account. */
export function floorWords(chat: Chat, me: string | null, users: User[]): FloorWords {
  const { holder, user_id: id, until } = chat.floor;
  const back = until ? ` until ${clock(utc(until))}` : '';
  if (holder === 'none') return { holder: 'nobody', text: 'No agent answers here.', busy: false };
  if (holder === 'user') {
    if (id === me) return { holder: 'me', text: `You have taken over${back}.`, busy: false };
    const name = id === null ? 'The owner' : (users.find((user) => user.id === id)?.username ?? 'Somebody');
    return { holder: 'other', text: `${name} has taken over${back}.`, busy: false };
  }
  const waits = chat.last_sender_type === 'CONTACT' && !chat.needs_attention;
  return { holder: 'agent', text: waits ? 'The agent is answering…' : 'The agent answers here.', busy: waits };
}

/** Why nothing can be written now, or until when it can; null if there is nothing to say. */
export function replyHint(chat: Chat, now: Date): { blocked: boolean; text: string } | null {
  if (chat.opted_out) return { blocked: true, text: 'This contact has opted out of messages.' };
  const { window } = chat;
  if (!window) return null;
  const until = window.until ? new Date(utc(window.until)) : null;
  if (!until || until <= now) {
    return { blocked: true, text: 'The window for free text is closed. It opens when the contact writes again.' };
  }
  return { blocked: false, text: `Free text can be sent until ${when(until.toISOString(), now)}.` };
}

/** The hour of today, the date of any other day. */
export function when(time: string, now: Date): string {
  const then = new Date(time);
  if (then.toDateString() === now.toDateString()) return clock(time);
  return then.toLocaleString(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
}

/** The hour of today, the day of this year, the date before. */
export function shortWhen(time: string, now: Date): string {
  const then = new Date(time);
  if (then.toDateString() === now.toDateString()) return clock(time);
  const year = then.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' as const };
  return then.toLocaleDateString(undefined, { day: 'numeric', month: 'short', ...year });
}

export const HEALTH_WORDS = {
  ok: 'Connected',
  auth: 'The platform refuses the credentials',
  conflict: 'Another program receives this bot’s messages',
  unreachable: 'The platform cannot be reached',
} as const;
