// The notes of one open chat, and those that are on their way to the server.

import { ApiError } from '../lib/api';
import type { Place } from '../lib/hub';
import { freshId } from '../lib/ids';
import { loadOutbox, repeatAfterMs, saveOutbox, type Outgoing } from '../lib/outbox';
import { tabStorage } from '../lib/storage';
import { mergeNotes, notesAfter, type Note, type NoteFrame } from '../lib/team';
import * as requests from '../lib/team_requests';
import { announcer, showFailure } from './announce.svelte';
import { inbox } from './inbox.svelte';

const SPOKEN_CHARS = 280;

export class HubNotes {
  /** The oldest first. */
  list = $state.raw<Note[]>([]);
  outbox = $state.raw<Outgoing[]>([]);
  working = $state(false);

  readonly #key: string;
  #open = false;
  #loads = 0;
  /** What happened while notes were being read, which may be older. */
  #early: NoteFrame[] = [];
  #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(readonly place: Place) {
    this.#key = `${place.chat}.notes`;
    this.outbox = loadOutbox(tabStorage(), this.#key);
  }

  open(): void {
    this.#open = true;
    for (const entry of this.outbox) if (entry.state === 'sending') void this.#deliver(entry);
  }

  close(): void {
    this.#open = false;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** Reads those behind the message `after`, or all. */
  async load(after?: string): Promise<void> {
    this.#loads += 1;
    const mine = this.#loads;
    this.#early = [];
    try {
      const found = await requests.notes(this.place, after);
      if (mine !== this.#loads) return;
      this.list = this.#early.reduce(notesAfter, mergeNotes([], found.toReversed()));
    } catch (error) {
      if (mine === this.#loads) showFailure('The notes could not be loaded.', error);
    }
  }

  /** Those of an older page of messages. */
  async loadOlder(after: string | undefined, before: string): Promise<void> {
    const mine = this.#loads;
    try {
      const found = await requests.notes(this.place, after, before);
      if (mine === this.#loads) this.list = mergeNotes(found.toReversed(), this.list);
    } catch (error) {
      showFailure('Older notes could not be loaded.', error);
    }
  }

  apply(frame: NoteFrame): void {
    this.#early.push(frame);
    this.list = notesAfter(this.list, frame);
    if (frame.type !== 'new_note') return;
    const { note } = frame;
    if (this.isOwn(note)) this.#forgetSent(note);
    else announcer.say(`Note by ${note.username ?? 'the owner'}: ${note.content.slice(0, SPOKEN_CHARS)}`);
  }

  isOwn = (note: Note): boolean => (inbox.me === null ? note.by_owner : note.user_id === inbox.me);

  add(text: string): void {
    const entry: Outgoing = { clientId: freshId(), text, mode: null, at: new Date().toISOString(), state: 'sending', reason: null };
    this.#setOutbox([...this.outbox, entry]);
    void this.#deliver(entry);
  }

  addAgain(entry: Outgoing): void {
    const again: Outgoing = { ...entry, state: 'sending', reason: null };
    this.#setOutbox(this.outbox.map((one) => (one.clientId === entry.clientId ? again : one)));
    void this.#deliver(again);
  }

  discard(entry: Outgoing): void {
    this.#setOutbox(this.outbox.filter((one) => one.clientId !== entry.clientId));
  }

  /** Whether it was stored. */
  async edit(note: Note, content: string): Promise<boolean> {
    return this.#act('The note could not be changed.', async () => {
      this.list = mergeNotes(this.list, [await requests.editNote(this.place, note.id, content)]);
    });
  }

  async remove(note: Note): Promise<boolean> {
    return this.#act('The note could not be removed.', async () => {
      await requests.removeNote(this.place, note.id);
      this.list = this.list.filter((one) => one.id !== note.id);
      announcer.say('The note is gone.');
    });
  }

  /** The server stores a note of this name once, however often it is sent. */
  async #deliver(entry: Outgoing, attempt = 0): Promise<void> {
    try {
      const note = await requests.addNote(this.place, entry.text, entry.clientId);
      this.discard(entry);
      this.list = mergeNotes([note], this.list);
      announcer.say('The note is stored.');
    } catch (error) {
      const { status, retryAfterMs, message } = error instanceof ApiError ? error : new ApiError(400, '', 'That did not work.');
      const wait = repeatAfterMs(status, retryAfterMs, attempt, Math.random());
      if (wait !== null && this.#open) {
        this.#timers.add(setTimeout(() => void this.#deliver(entry, attempt + 1), wait));
      } else if (wait === null) {
        const refused: Outgoing = { ...entry, state: 'refused', reason: message };
        this.#setOutbox(this.outbox.map((one) => (one.clientId === entry.clientId ? refused : one)));
      }
    }
  }

  /** Its frame came before the answer to its request: it is not shown twice. */
  #forgetSent(note: Note): void {
    const sent = this.outbox.find((entry) => entry.state === 'sending' && entry.text === note.content);
    if (sent) this.outbox = this.outbox.map((one) => (one === sent ? { ...one, state: 'stored' } : one));
  }

  #setOutbox(outbox: Outgoing[]): void {
    this.outbox = outbox;
    saveOutbox(tabStorage(), this.#key, outbox);
  }

  async #act(failed: string, work: () => Promise<void>): Promise<boolean> {
    if (this.working) return false;
    this.working = true;
    try {
      await work();
      return true;
    } catch (error) {
      showFailure(failed, error);
      return false;
    } finally {
      this.working = false;
    }
  }
}
