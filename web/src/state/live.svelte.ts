// The sockets of this tab, and what the page says about them.

import * as api from '../lib/api';
import { socketUrl } from '../lib/base';
import { Connection, type Protocol } from '../lib/connection';
import type { Phase } from '../lib/socket';
import type { ChatFrame, Frame } from '../lib/wire';
import { auth } from './auth.svelte';

/** A break shorter than this is not worth a word. */
const CALM_MS = 1_500;

export interface Follower {
  frame(frame: ChatFrame): void;
  lost(): void;
  gone(): void;
}

export interface HubFollower {
  frame(frame: Frame): void;
  /** Events may be missing. */
  lost(): void;
}

/** How many lines have been gone for long enough to say so. */
let troubled = $state(0);
const running = new Set<Line>();

/** A socket that comes back by itself, and those who listen to it. */
export class Line {
  #connection: Connection;
  #followers = new Map<string, Follower>();
  #hub: HubFollower | null = null;
  #onOpen = new Set<() => void>();
  #calm: ReturnType<typeof setTimeout> | undefined;
  #troubled = false;

  constructor(url: string, protocol: Protocol | null = null) {
    const listener = {
      phase: (phase: Phase) => this.#phase(phase),
      frame: (frame: ChatFrame) => this.#followers.get(frame.chatId)?.frame(frame),
      lost: (chatId: string) => this.#followers.get(chatId)?.lost(),
      gone: (chatId: string) => this.#followers.get(chatId)?.gone(),
      hub: (frame: Frame) => this.#hub?.frame(frame),
      hubLost: () => this.#hub?.lost(),
      probe,
    };
    this.#connection = new Connection(url, listener, protocol);
  }

  start = (): void => {
    running.add(this);
    this.#connection.start();
  };

  stop = (): void => {
    running.delete(this);
    this.#connection.stop();
  };

  hurry = (): void => this.#connection.hurry();

  /** `call` runs each time the connection stands again. */
  whenOpen(call: () => void): () => void {
    this.#onOpen.add(call);
    return () => this.#onOpen.delete(call);
  }

  follow(chatId: string, since: string, follower: Follower): void {
    this.#followers.set(chatId, follower);
    this.#connection.follow(chatId, since);
  }

  unfollow(chatId: string): void {
    this.#followers.delete(chatId);
    this.#connection.unfollow(chatId);
  }

  /** The hub's events, from now on until the line is stopped. */
  followHub(follower: HubFollower): void {
    this.#hub = follower;
    this.#connection.followHub();
  }

  #phase(next: Phase): void {
    if (next === 'connecting' || next === 'waiting') {
      // Counted from the break, not from the last attempt.
      this.#calm ??= setTimeout(() => this.#setTroubled(true), CALM_MS);
      return;
    }
    clearTimeout(this.#calm);
    this.#calm = undefined;
    this.#setTroubled(false);
    if (next === 'open') for (const call of this.#onOpen) call();
    if (next === 'signed_out') auth.ended();
  }

  #setTroubled(is: boolean): void {
    if (is !== this.#troubled) troubled += is ? 1 : -1;
    this.#troubled = is;
  }
}

async function probe(): Promise<'known' | 'unknown' | 'unreachable'> {
  try {
    await api.me();
    return 'known';
  } catch (error) {
    return error instanceof api.ApiError && error.status === 401 ? 'unknown' : 'unreachable';
  }
}

/** The one that most of the page listens to. */
export const live = new Line(socketUrl());

export const lines = {
  get troubled() {
    return troubled > 0;
  },
  /** Tries now instead of at the end of the pause. */
  hurry(): void {
    for (const line of running) line.hurry();
  },
};
