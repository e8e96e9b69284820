// One open conversation: its snapshot, the frames that follow, what is being sent.

import * as api from '../lib/api';
import { freshId, toHex } from '../lib/ids';
import { loadOutbox, repeatAfterMs, saveOutbox, type Outgoing } from '../lib/outbox';
import { arrange, isBusy, type Row } from '../lib/rows';
import { tabStorage } from '../lib/storage';
import { applyFrame, completeResults, empty, fromSnapshot, prepend, type Transcript } from '../lib/transcript';
import type { ChatFrame, Mode, Session } from '../lib/wire';
import { announcer, showFailure } from './announce.svelte';
import { live } from './live.svelte';
import { sessions } from './sessions.svelte';

const PAGE = 100;
const RELOAD_AFTER_MS = 2_000;
/** A hidden page paints nothing: it need not be told sixty times a second. */
const HIDDEN_PUBLISH_MS = 500;
const SPOKEN_CHARS = 280;
/** How many older pages are read in search of one message. */
const MOST_PAGES = 30;

export class Chat {
  readonly id: string;
  readonly hex: string;
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading');
  loadingOlder = $state(false);
  stopping = $state(false);
  /** What the server says about it; the list may not reach back to it. */
  session = $state.raw<Session | null>(null);

  #transcript = $state.raw<Transcript>(empty);
  #outbox = $state.raw<Outgoing[]>([]);
  /** Runs ahead of `#transcript` by what arrived since the last frame was painted. */
  #now: Transcript = empty;
  #publishing = false;
  #open = false;
  #loads = 0;
  #older: Promise<void> | null = null;
  #sending = new Set<string>();
  #wake = new Set<() => void>();
  #reload: ReturnType<typeof setTimeout> | undefined;
  #forgetOpen: () => void = () => {};

  rows: Row[] = $derived(arrange(this.#transcript, this.#outbox));
  busy: boolean = $derived(isBusy(this.rows));

  constructor(id: string) {
    this.id = id;
    this.hex = toHex(id);
    this.#outbox = loadOutbox(tabStorage(), id);
  }

  get title(): string {
    return sessions.get(this.id)?.title ?? this.#transcript.title ?? this.session?.title ?? '';
  }

  get hasOlder(): boolean {
    return this.#transcript.hasOlder;
  }

  open(): void {
    this.#open = true;
    this.#forgetOpen = live.whenOpen(this.#hurry);
    // Seen before: the log goes on where we left it.
    if (this.#now.seq !== null && this.state === 'ready') this.#follow(this.#now.seq);
    else void this.#load();
    for (const entry of this.#outbox) void this.#deliver(entry.clientId);
    void this.#loadSession();
  }

  close(): void {
    this.#open = false;
    clearTimeout(this.#reload);
    this.#forgetOpen();
    live.unfollow(this.hex);
  }

  send(text: string, mode: Mode | null = null, clientId: string = freshId()): void {
    const entry: Outgoing = { clientId, text, mode, at: new Date().toISOString(), state: 'sending', reason: null };
    this.#setOutbox([...this.#outbox, entry]);
    void this.#deliver(clientId);
  }

  /** Sends a refused message again, under its old name. */
  resend(clientId: string): void {
    this.#change(clientId, { state: 'sending', reason: null });
    void this.#deliver(clientId);
  }

  discard(clientId: string): void {
    this.#setOutbox(this.#outbox.filter((entry) => entry.clientId !== clientId));
  }

  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    try {
      await api.cancelTurn(this.hex);
    } catch (error) {
      showFailure('The answer could not be stopped.', error);
    } finally {
      this.stopping = false;
    }
  }

  /** One page further back. `arrived` runs directly before the page changes. */
  loadOlder(arrived: () => void = () => {}): Promise<void> {
    this.#older ??= this.#loadOlder(arrived).finally(() => {
      this.#older = null;
      this.loadingOlder = false;
    });
    return this.#older;
  }

  async #loadOlder(arrived: () => void): Promise<void> {
    const before = this.#now.oldest;
    if (!this.#now.hasOlder || before === null) return;
    this.loadingOlder = true;
    try {
      const page = await api.messages(this.id, PAGE, before);
      if (this.#now.oldest !== before) return;
      arrived();
      this.#set(prepend(this.#now, page.messages, page.more), true);
    } catch (error) {
      showFailure('Older messages could not be loaded.', error);
    }
  }

  /** Reads older pages until the message is there. */
  async reach(messageId: string): Promise<boolean> {
    // What was followed live is known by its parts, not by its messages: the snapshot knows both.
    if (!this.#has(messageId)) await this.#load();
    for (let page = 0; page < MOST_PAGES; page += 1) {
      if (this.#has(messageId)) return true;
      const before = this.#now.oldest;
      await this.loadOlder();
      if (this.#now.oldest === before) break;
    }
    return this.#has(messageId);
  }

  /** The live frames carry the beginning of a long output only. */
  async loadWholeResults(): Promise<void> {
    try {
      const page = await api.messages(this.id, PAGE);
      this.#set(completeResults(this.#now, page.messages), true);
    } catch (error) {
      showFailure('The whole output could not be loaded.', error);
    }
  }

  retryLoad(): void {
    this.state = 'loading';
    void this.#load();
  }

  async change(fields: { title?: string; mode?: Mode; provider?: string; model?: string }): Promise<void> {
    const before = sessions.get(this.id) ?? this.session;
    if (before) this.#know({ ...before, ...fields });
    try {
      this.#know(await api.changeSession(this.id, fields));
    } catch (error) {
      if (before) this.#know(before);
      showFailure('The change was not saved.', error);
    }
  }

  #know(session: Session): void {
    this.session = session;
    if (sessions.get(this.id)) sessions.put(session);
  }

  async #loadSession(): Promise<void> {
    try {
      this.session = await api.getSession(this.id);
    } catch {
      // The snapshot says what is wrong.
    }
  }

  async #load(): Promise<void> {
    this.#loads += 1;
    const mine = this.#loads;
    try {
      const page = await api.messages(this.id, PAGE);
      if (mine !== this.#loads) return;
      this.#set(fromSnapshot(page.messages, page.cursor, page.more), true);
      this.state = 'ready';
      if (this.#open) this.#follow(page.cursor ?? '0');
    } catch (error) {
      if (mine !== this.#loads) return;
      this.#loadFailed(error);
    }
  }

  #loadFailed(error: unknown): void {
    const status = error instanceof api.ApiError ? error.status : 0;
    if (status === 404) {
      this.state = 'missing';
      return;
    }
    if (this.state === 'loading') this.state = 'failed';
    if (status !== 401 && this.#open) this.#reload = setTimeout(() => void this.#load(), RELOAD_AFTER_MS);
  }

  #follow(since: string): void {
    live.follow(this.hex, since, {
      frame: (frame) => this.#received(frame),
      lost: () => void this.#load(),
      gone: () => (this.state = 'missing'),
    });
  }

  #received(frame: ChatFrame): void {
    // The stored message takes the place of the one being sent in the same moment.
    this.#set(applyFrame(this.#now, frame), frame.type === 'user_message');
    if (frame.type === 'user_message' && frame.clientId) this.#stored(frame.clientId);
    this.#tell(frame);
  }

  /** What a frame means beyond this page: the list, and the screen reader. */
  #tell(frame: ChatFrame): void {
    const now = new Date().toISOString();
    switch (frame.type) {
      case 'turn_started':
        sessions.touch(this.id, { busy: true });
        announcer.say('Answering.');
        return;
      case 'user_message':
        sessions.touch(this.id, { busy: true, updatedAt: now });
        return sessions.refreshSoon();
      case 'result':
      case 'error':
        if (!frame.turnId) return;
        sessions.touch(this.id, { busy: false, updatedAt: now });
        announcer.say(this.#spokenAnswer(toHex(frame.turnId)));
        return sessions.refreshSoon();
      case 'chat_renamed':
        return sessions.touch(this.id, { title: frame.title });
      case 'chat_removed':
        sessions.drop(this.id);
        this.state = 'missing';
        return;
      default:
    }
  }

  #spokenAnswer(turnId: string): string {
    const turn = this.#now.items.find((item) => item.kind === 'turn' && item.id === turnId);
    if (turn?.kind !== 'turn') return '';
    if (turn.failure) return turn.failure.sentence;
    if (turn.state === 'cancelled') return 'Stopped.';
    const text = turn.blocks.map((block) => (block.kind === 'text' ? block.text : '')).join(' ').trim();
    return text.length <= SPOKEN_CHARS ? `Answer: ${text}` : `Answer complete, ${text.split(/\s+/).length} words.`;
  }

  #has(messageId: string): boolean {
    return this.#now.items.some((item) => item.id === messageId || (item.kind === 'turn' && item.messageIds.includes(messageId)));
  }

  #set(next: Transcript, atOnce: boolean): void {
    this.#now = next;
    if (atOnce) this.#transcript = next;
    else this.#publish();
  }

  /** At most once per painted frame, however many frames arrive. */
  #publish(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    const run = (): void => {
      this.#publishing = false;
      this.#transcript = this.#now;
    };
    if (document.visibilityState === 'visible') requestAnimationFrame(run);
    else setTimeout(run, HIDDEN_PUBLISH_MS);
  }

  /** Sends until the server has it. The name makes a repeat harmless. */
  async #deliver(clientId: string): Promise<void> {
    if (this.#sending.has(clientId)) return;
    this.#sending.add(clientId);
    for (let attempt = 0; ; attempt += 1) {
      const entry = this.#outbox.find((one) => one.clientId === clientId);
      if (!entry || entry.state !== 'sending') break;
      try {
        await api.sendMessage(this.hex, { content: entry.text, clientId, ...(entry.mode && { mode: entry.mode }) });
        this.#stored(clientId);
        sessions.refreshSoon();
        break;
      } catch (error) {
        const failure = error instanceof api.ApiError ? error : new api.ApiError(0, 'unreachable', 'The server cannot be reached.');
        if (failure.status === 401) break;
        const pause = repeatAfterMs(failure.status, failure.retryAfterMs, attempt, Math.random());
        if (pause === null) {
          this.#change(clientId, { state: 'refused', reason: failure.message });
          break;
        }
        await this.#pause(pause);
      }
    }
    this.#sending.delete(clientId);
  }

  /** Ends early when the connection stands again. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wake.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#wake.add(wake);
    });
  }

  #hurry = (): void => {
    for (const wake of [...this.#wake]) wake();
    for (const entry of this.#outbox) if (entry.state === 'sending') void this.#deliver(entry.clientId);
  };

  #stored(clientId: string): void {
    const seen = this.#now.items.some((item) => item.kind === 'user' && item.clientId === clientId);
    if (seen && this.#outbox.some((entry) => entry.clientId === clientId)) this.discard(clientId);
    else this.#change(clientId, { state: 'stored' });
  }

  #change(clientId: string, fields: Partial<Outgoing>): void {
    this.#setOutbox(this.#outbox.map((entry) => (entry.clientId === clientId ? { ...entry, ...fields } : entry)));
  }

  #setOutbox(next: Outgoing[]): void {
    this.#outbox = next;
    saveOutbox(tabStorage(), this.id, next);
  }
}

const MOST_KEPT = 8;
const kept = new Map<string, Chat>();

/** The conversation of that id, with what is still known of it from an earlier visit. */
export function chatOf(id: string): Chat {
  const chat = kept.get(id) ?? new Chat(id);
  kept.delete(id);
  kept.set(id, chat);
  for (const old of kept.keys()) {
    if (kept.size <= MOST_KEPT) break;
    kept.delete(old);
  }
  return chat;
}

export function forgetChats(): void {
  for (const chat of kept.values()) chat.close();
  kept.clear();
}
