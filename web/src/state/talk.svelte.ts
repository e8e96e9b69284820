// One open conversation, of whichever API: its snapshot, the frames that follow, what is being sent.

import * as api from '../lib/api';
import { freshId, toHex } from '../lib/ids';
import { loadOutbox, repeatAfterMs, saveOutbox, type Outgoing } from '../lib/outbox';
import { arrange, isBusy, type Row } from '../lib/rows';
import { tabStorage } from '../lib/storage';
import { applyFrame, empty, type Transcript } from '../lib/transcript';
import type { ChatFrame } from '../lib/wire';
import { announcer, showFailure } from './announce.svelte';
import type { Follower, Line } from './live.svelte';

const RELOAD_AFTER_MS = 2_000;
/** A hidden page paints nothing: it need not be told sixty times a second. */
const HIDDEN_PUBLISH_MS = 500;
const SPOKEN_CHARS = 280;

/** The newest part of a conversation, and the position from which its frames follow. */
export interface Snapshot {
  transcript: Transcript;
  since: string;
  /** There is more to show than that, and the frames bring it. */
  more: boolean;
}

export abstract class Talk {
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading');
  loadingOlder = $state(false);
  stopping = $state(false);

  protected transcript = $state.raw<Transcript>(empty);
  /** Runs ahead of `transcript` by what arrived since the last frame was painted. */
  protected now: Transcript = empty;
  #outbox = $state.raw<Outgoing[]>([]);
  #publishing = false;
  #open = false;
  #loads = 0;
  #older: Promise<void> | null = null;
  #sending = new Set<string>();
  #wake = new Set<() => void>();
  #reload: ReturnType<typeof setTimeout> | undefined;
  #forgetOpen: () => void = () => {};

  rows: Row[] = $derived(arrange(this.transcript, this.#outbox));
  busy: boolean = $derived(isBusy(this.rows));

  /** `key` names drafts and what is being sent; `address` is the conversation's name on the line. */
  constructor(
    readonly key: string,
    protected readonly line: Line,
    protected readonly address: string,
  ) {
    this.#outbox = loadOutbox(tabStorage(), key);
  }

  abstract get title(): string;
  protected abstract fetch(): Promise<Snapshot>;
  protected abstract deliver(entry: Outgoing): Promise<void>;
  protected abstract cancel(): Promise<void>;
  /** What a frame means beyond this page: the list, and the screen reader. */
  protected abstract tell(frame: ChatFrame): void;

  get hasOlder(): boolean {
    return this.transcript.hasOlder;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  open(): void {
    this.#open = true;
    this.#forgetOpen = this.line.whenOpen(this.#hurry);
    // Seen before: the log goes on where we left it.
    if (this.now.seq !== null && this.state === 'ready') this.follow(this.now.seq);
    else void this.load();
    for (const entry of this.#outbox) void this.#deliver(entry.clientId);
  }

  close(): void {
    this.#open = false;
    clearTimeout(this.#reload);
    this.#forgetOpen();
    this.line.unfollow(this.address);
  }

  send(text: string, fields: Partial<Outgoing> = {}): void {
    const at = new Date().toISOString();
    const entry: Outgoing = { clientId: freshId(), text, mode: null, at, state: 'sending', reason: null, ...fields };
    this.#setOutbox([...this.#outbox, entry]);
    void this.#deliver(entry.clientId);
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
      await this.cancel();
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

  /** What becomes of the transcript with one page more before it. */
  protected async fetchOlder(_before: string): Promise<(now: Transcript) => Transcript> {
    return (now) => now;
  }

  async #loadOlder(arrived: () => void): Promise<void> {
    const before = this.now.oldest;
    if (!this.now.hasOlder || before === null) return;
    this.loadingOlder = true;
    try {
      const extend = await this.fetchOlder(before);
      if (this.now.oldest !== before) return;
      arrived();
      this.set(extend(this.now), true);
    } catch (error) {
      showFailure('Older messages could not be loaded.', error);
    }
  }

  retryLoad(): void {
    this.state = 'loading';
    void this.load();
  }

  protected async load(): Promise<void> {
    this.#loads += 1;
    const mine = this.#loads;
    try {
      const { transcript, since, more } = await this.fetch();
      if (mine !== this.#loads) return;
      this.set(transcript, true);
      if (!more) this.state = 'ready';
      if (this.#open) this.follow(since);
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
    if (status !== 401 && this.#open) this.#reload = setTimeout(() => void this.load(), RELOAD_AFTER_MS);
  }

  protected follow(since: string): void {
    const follower: Follower = {
      frame: (frame) => this.received(frame),
      lost: () => void this.load(),
      gone: () => (this.state = 'missing'),
    };
    this.line.follow(this.address, since, follower);
  }

  protected received(frame: ChatFrame): void {
    this.state = 'ready';
    // The stored message takes the place of the one being sent in the same moment.
    this.set(applyFrame(this.now, frame), frame.type === 'user_message');
    if (frame.type === 'user_message' && frame.clientId) this.#stored(frame.clientId);
    this.tell(frame);
  }

  protected spokenAnswer(turnId: string): string {
    const turn = this.now.items.find((item) => item.kind === 'turn' && item.id === turnId);
    if (turn?.kind !== 'turn') return '';
    if (turn.failure) return turn.failure.sentence;
    if (turn.state === 'cancelled') return 'Stopped.';
    const asked = turn.blocks.findLast((block) => block.kind === 'question');
    if (asked) return `Question: ${asked.questions.map((one) => one.question).join(' ')}`;
    const text = turn.blocks.map((block) => (block.kind === 'text' ? block.text : '')).join(' ').trim();
    return text.length <= SPOKEN_CHARS ? `Answer: ${text}` : `Answer complete, ${text.split(/\s+/).length} words.`;
  }

  protected has(messageId: string): boolean {
    return this.now.items.some((item) => item.id === messageId || (item.kind === 'turn' && item.messageIds.includes(messageId)));
  }

  protected set(next: Transcript, atOnce: boolean): void {
    this.now = next;
    if (atOnce) this.transcript = next;
    else this.#publish();
  }

  /** At most once per painted frame, however many frames arrive. */
  #publish(): void {
    if (this.#publishing) return;
    this.#publishing = true;
    const run = (): void => {
      this.#publishing = false;
      this.transcript = this.now;
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
        await this.deliver(entry);
        this.#stored(clientId);
        break;
      } catch (error) {
        const failure = error instanceof api.ApiError ? error : new api.ApiError(0, 'unreachable', 'The server cannot be reached.');
        if (failure.status === 401) break;
        const pause = repeatAfterMs(failure.status, failure.retryAfterMs, attempt, Math.random());
        if (pause === null) {
          this.#refused(entry, failure);
          break;
        }
        await this.#pause(pause);
      }
    }
    this.#sending.delete(clientId);
  }

  #refused(entry: Outgoing, failure: api.ApiError): void {
    // Somebody was faster: what they said counts, and stands there already.
    if (entry.answers && failure.code === 'no_question') {
      this.discard(entry.clientId);
      announcer.show('The question was answered before.');
      return;
    }
    this.#change(entry.clientId, { state: 'refused', reason: failure.message });
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

  /** A message of ours is stored and has not come back as a frame yet. */
  protected awaits(clientId: string): boolean {
    return this.#outbox.some((entry) => entry.clientId === clientId && entry.state === 'stored');
  }

  #stored(clientId: string): void {
    const seen = this.now.items.some((item) => item.kind === 'user' && item.clientId === clientId);
    if (seen && this.#outbox.some((entry) => entry.clientId === clientId)) this.discard(clientId);
    else this.#change(clientId, { state: 'stored' });
  }

  #change(clientId: string, fields: Partial<Outgoing>): void {
    this.#setOutbox(this.#outbox.map((entry) => (entry.clientId === clientId ? { ...entry, ...fields } : entry)));
  }

  #setOutbox(next: Outgoing[]): void {
    this.#outbox = next;
    saveOutbox(tabStorage(), this.key, next);
  }
}

/** The id of a turn as its transcript has it. */
export const turnOf = (frame: ChatFrame): string => toHex(frame.turnId ?? '');
