// The projects of this server, as the side bar lists them, and the conversations about each as far as they were asked for.

import { ApiError } from '../lib/api';
import * as api from '../lib/assistant';
import type { Project, Summary } from '../lib/assistant';
import { mergeNumbered } from '../lib/paging';
import { showFailure } from './announce.svelte';

const REFRESH_EVERY_MS = 30_000;
const REFRESH_SOON_MS = 250;
const TYPING_MS = 200;

/** The conversations about one project. */
export class Conversations {
  list = $state.raw<Summary[]>([]);
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading');
  more = $state(false);
  loadingMore = $state(false);
  /** What was looked for; the list shows only what was found then. */
  words = $state('');
  /** Null: not known yet. */
  found = $state.raw<Summary[] | null>(null);
  #soon: ReturnType<typeof setTimeout> | undefined;
  #typed: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly project: string) {}

  get = (id: number): Summary | undefined => this.list.find((one) => one.id === id);

  async refresh(): Promise<void> {
    try {
      const top = await api.conversations(this.project);
      const complete = top.length < api.PAGE;
      const covered = top.at(-1)?.updated_at ?? '';
      const older = complete ? [] : this.list.filter((one) => one.updated_at < covered);
      if (this.state !== 'ready' || complete) this.more = !complete;
      this.list = mergeNumbered(older, top);
      this.state = 'ready';
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 400)) this.state = 'missing';
      else if (this.state !== 'ready') this.state = 'failed';
    }
  }

  /** Something has changed that the list shows. */
  refreshSoon(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => void this.refresh(), REFRESH_SOON_MS);
  }

  async loadMore(): Promise<void> {
    const last = this.list.at(-1);
    if (!last || !this.more || this.loadingMore) return;
    this.loadingMore = true;
    try {
      const page = await api.conversations(this.project, last.id);
      this.list = mergeNumbered(this.list, page);
      this.more = page.length === api.PAGE;
    } catch (error) {
      showFailure('Older conversations could not be loaded.', error);
    } finally {
      this.loadingMore = false;
    }
  }

  /** Looks for conversations in which the words occur, once nothing is typed for a moment. */
  search(words: string): void {
    clearTimeout(this.#typed);
    this.words = words;
    if (words.trim() === '') this.found = null;
    else this.#typed = setTimeout(() => void this.#find(words), TYPING_MS);
  }

  async #find(words: string): Promise<void> {
    try {
      const found = await api.search(this.project, words.trim());
      if (words === this.words) this.found = found;
    } catch (error) {
      if (words === this.words) showFailure('The search did not work.', error);
    }
  }

  put(summary: Summary): void {
    this.list = mergeNumbered(this.list, [summary]);
  }

  /** Shows at once what a frame has told; the next refresh brings the rest. */
  touch(id: number, change: Partial<Summary>): void {
    const summary = this.get(id);
    if (summary) this.put({ ...summary, ...change });
    this.found = this.found?.map((one) => (one.id === id ? { ...one, ...change } : one)) ?? null;
  }

  async rename(id: number, title: string): Promise<void> {
    const before = this.get(id);
    this.touch(id, { title });
    try {
      this.put(await api.rename(this.project, id, title));
    } catch (error) {
      if (before) this.put(before);
      showFailure('The name could not be changed.', error);
    }
  }

  /** Whether it is gone. */
  async remove(id: number): Promise<boolean> {
    try {
      await api.remove(this.project, id);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) {
        showFailure('The conversation could not be deleted.', error);
        return false;
      }
    }
    this.list = this.list.filter((one) => one.id !== id);
    this.found = this.found?.filter((one) => one.id !== id) ?? null;
    return true;
  }
}

let list = $state.raw<Project[]>([]);
let state = $state<'loading' | 'ready' | 'failed'>('loading');
let every: ReturnType<typeof setInterval> | undefined;
const conversations = new Map<string, Conversations>();

async function refresh(): Promise<void> {
  try {
    list = await api.projects();
    state = 'ready';
  } catch {
    if (state !== 'ready') state = 'failed';
  }
}

export const projects = {
  get list() {
    return list;
  },
  get state() {
    return state;
  },
  get: (name: string): Project | undefined => list.find((project) => project.name === name),
  conversationsOf(name: string): Conversations {
    const known = conversations.get(name) ?? new Conversations(name);
    conversations.set(name, known);
    return known;
  },
  refresh,
  start(): void {
    void refresh();
    every = setInterval(() => document.visibilityState === 'visible' && void refresh(), REFRESH_EVERY_MS);
  },
  stop(): void {
    clearInterval(every);
    list = [];
    state = 'loading';
    conversations.clear();
  },
  /** Throws what the server says against it. */
  async add(name: string, path: string): Promise<Project> {
    const project = await api.addProject(name, path);
    list = [...list.filter((one) => one.name !== name), project].sort((a, b) => (a.name < b.name ? -1 : 1));
    return project;
  },
  /** Whether it is gone from the list. The conversations about it are kept. */
  async remove(name: string): Promise<boolean> {
    try {
      await api.removeProject(name);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) {
        showFailure('The project could not be removed.', error);
        return false;
      }
    }
    list = list.filter((one) => one.name !== name);
    conversations.delete(name);
    return true;
  },
};
