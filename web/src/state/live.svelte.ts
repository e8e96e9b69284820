// The one socket of this tab, and what the page says about it.

import * as api from '../lib/api';
import { socketUrl } from '../lib/base';
import { Connection } from '../lib/connection';
import type { Phase } from '../lib/socket';
import type { ChatFrame } from '../lib/wire';
import { auth } from './auth.svelte';

/** A break shorter than this is not worth a word. */
const CALM_MS = 1_500;

let troubled = $state(false);
let phase = $state<Phase>('idle');
let calm: ReturnType<typeof setTimeout> | undefined;

export interface Follower {
  frame(frame: ChatFrame): void;
  lost(): void;
  gone(): void;
}

const followers = new Map<string, Follower>();
const onOpen = new Set<() => void>();

const connection = new Connection(socketUrl(), {
  phase(next) {
    phase = next;
    if (next === 'connecting' || next === 'waiting') {
      // Counted from the break, not from the last attempt.
      calm ??= setTimeout(() => (troubled = true), CALM_MS);
      return;
    }
    clearTimeout(calm);
    calm = undefined;
    troubled = false;
    if (next === 'open') for (const call of onOpen) call();
    if (next === 'signed_out') auth.ended();
  },
  frame: (frame) => followers.get(frame.chatId)?.frame(frame),
  lost: (chatId) => followers.get(chatId)?.lost(),
  gone: (chatId) => followers.get(chatId)?.gone(),
  async probe() {
    try {
      await api.me();
      return 'known';
    } catch (error) {
      return error instanceof api.ApiError && error.status === 401 ? 'unknown' : 'unreachable';
    }
  },
});

export const live = {
  /** The connection has been gone for long enough to say so. */
  get troubled() {
    return troubled;
  },
  get open() {
    return phase === 'open';
  },
  start: connection.start,
  stop(): void {
    connection.stop();
  },
  hurry: connection.hurry,
  /** `call` runs each time the connection stands again. */
  whenOpen(call: () => void): () => void {
    onOpen.add(call);
    return () => onOpen.delete(call);
  },
  follow(chatId: string, since: string, follower: Follower): void {
    followers.set(chatId, follower);
    connection.follow(chatId, since);
  },
  unfollow(chatId: string): void {
    followers.delete(chatId);
    connection.unfollow(chatId);
  },
};
