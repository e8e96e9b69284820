// The first message of a conversation: the conversation is made when there is something to say in it.

import * as api from '../lib/api';
import { freshId } from '../lib/ids';
import { repeatAfterMs } from '../lib/outbox';
import type { Session } from '../lib/wire';
import { chatOf } from './chat.svelte';
import { models } from './models.svelte';
import { chatPath, router } from './router.svelte';
import { sessions } from './sessions.svelte';

let starting = $state<string | null>(null);

export const start = {
  /** The text of the message whose conversation is being made. */
  get text() {
    return starting;
  },
  /** Throws what the server says against it; then nothing was made. */
  async conversation(text: string): Promise<void> {
    starting = text;
    try {
      const session = await create();
      // Its name will come from this message; until the server says so, this is it.
      const named = { ...session, title: provisionalTitle(text) };
      sessions.put(named);
      const chat = chatOf(session.id);
      chat.session = named;
      chat.send(text);
      if (router.route.name === 'new') router.go(chatPath(session.id));
    } finally {
      starting = null;
    }
  },
};

const TITLE_CHARS = 50;

function provisionalTitle(text: string): string {
  const chars = Array.from(text);
  return chars.length <= TITLE_CHARS ? text : `${chars.slice(0, TITLE_CHARS).join('')}...`;
}

/** Asks until it is known to be made; the key makes a repeat harmless. */
async function create(): Promise<Session> {
  const key = freshId();
  const fields = { mode: models.mode, ...(models.chosen ?? {}) };
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await api.createSession(fields, key);
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      const pause = repeatAfterMs(error.status, error.retryAfterMs, attempt, Math.random());
      if (pause === null) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}
