// The list in the side bar.

import * as api from '../lib/api';
import { merge, refreshTop } from '../lib/paging';
import type { Session } from '../lib/wire';
import { showFailure } from './announce.svelte';

const PAGE = 40;
const REFRESH_EVERY_MS = 10_000;
const REFRESH_SOON_MS = 250;

let list = $state.raw<Session[]>([]);
let state = $state<'loading' | 'ready' | 'failed'>('loading');
let more = $state(false);
let loadingMore = $state(false);

let soon: ReturnType<typeof setTimeout> | undefined;
let every: ReturnType<typeof setInterval> | undefined;

async function refresh(): Promise<void> {
  try {
    const top = await api.listSessions(PAGE);
    const complete = top.length < PAGE;
    list = refreshTop(list, top, complete);
    if (state !== 'ready' || complete) more = !complete;
    state = 'ready';
  } catch {
    if (state === 'loading') state = 'failed';
  }
}

export const sessions = {
  get list() {
    return list;
  },
  get state() {
    return state;
  },
  get more() {
    return more;
  },
  get loadingMore() {
    return loadingMore;
  },
  get: (id: string): Session | undefined => list.find((session) => session.id === id),
  refresh,
  /** Something has changed that the list shows. */
  refreshSoon(): void {
    clearTimeout(soon);
    soon = setTimeout(() => void refresh(), REFRESH_SOON_MS);
  },
  start(): void {
    void refresh();
    every = setInterval(() => document.visibilityState === 'visible' && void refresh(), REFRESH_EVERY_MS);
  },
  stop(): void {
    clearInterval(every);
    clearTimeout(soon);
    list = [];
    state = 'loading';
    more = false;
  },
  async loadMore(): Promise<void> {
    const last = list.at(-1);
    if (!more || loadingMore || !last) return;
    loadingMore = true;
    try {
      const page = await api.listSessions(PAGE, { before: last.id });
      list = merge(list, page);
      more = page.length === PAGE;
    } catch (error) {
      showFailure('Older conversations could not be loaded.', error);
    } finally {
      loadingMore = false;
    }
  },
  put(session: Session): void {
    list = merge(list, [session]);
  },
  /** Shows at once what a frame has told; the next refresh brings the rest. */
  touch(id: string, change: Partial<Session>): void {
    const session = list.find((one) => one.id === id);
    if (session) list = merge(list, [{ ...session, ...change }]);
  },
  drop(id: string): void {
    list = list.filter((session) => session.id !== id);
  },
  async rename(id: string, title: string): Promise<void> {
    const before = list.find((session) => session.id === id);
    sessions.touch(id, { title });
    try {
      sessions.put(await api.changeSession(id, { title }));
    } catch (error) {
      if (before) sessions.put(before);
      showFailure('The name could not be changed.', error);
    }
  },
  async remove(id: string): Promise<boolean> {
    try {
      await api.deleteSession(id);
    } catch (error) {
      if (!(error instanceof api.ApiError && error.status === 404)) {
        showFailure('The conversation could not be deleted.', error);
        return false;
      }
    }
    sessions.drop(id);
    return true;
  },
};
