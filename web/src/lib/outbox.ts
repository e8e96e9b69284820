// What was written here and is not yet known to be stored. Kept over a reload; sent again under the same name until it is.

import type { Mode } from './wire';

export interface Outgoing {
  /** The server stores a message of this name once, however often it is sent. */
  clientId: string;
  text: string;
  mode: Mode | null;
  /** It answers a question: labels or own words, by the question's index. `text` is how that is shown. */
  answers?: Record<string, string[]>;
  at: string;
  state: 'sending' | 'stored' | 'refused';
  /** Why it was refused, in words for people. */
  reason: string | null;
}

const key = (sessionId: string): string => `colloquy.outbox.${sessionId}`;

export function loadOutbox(storage: Storage | null, sessionId: string): Outgoing[] {
  try {
    const list: unknown = JSON.parse(storage?.getItem(key(sessionId)) ?? '[]');
    return Array.isArray(list) ? (list as Outgoing[]) : [];
  } catch {
    return [];
  }
}

export function saveOutbox(storage: Storage | null, sessionId: string, outbox: Outgoing[]): void {
  const rest = outbox.filter((entry) => entry.state !== 'stored');
  try {
    if (rest.length === 0) storage?.removeItem(key(sessionId));
    else storage?.setItem(key(sessionId), JSON.stringify(rest));
  } catch {
    // A full or closed storage costs only the memory of a reload.
  }
}

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
/** A server that fails this often at the same message will go on failing. */
const MOST_FAILURES = 5;

/**
 * How long to wait before the `attempt`th repeat (from 0), or null if a repeat would be refused again.
 * `status` 0 is a connection that failed: nobody knows whether the message arrived.
 */
export function repeatAfterMs(status: number, retryAfterMs: number | null, attempt: number, random: number): number | null {
  const away = [0, 408, 429, 502, 503, 504].includes(status);
  const broken = status >= 500 && status !== 507 && attempt < MOST_FAILURES;
  if (!away && !broken) return null;
  const backoff = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.5 + random / 2);
  return Math.max(backoff, retryAfterMs ?? 0);
}
