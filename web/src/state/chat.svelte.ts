// A person's own conversation: what `Talk` needs of the sessions API, and what only this kind has.

import * as api from '../lib/api';
import { toHex } from '../lib/ids';
import type { Outgoing } from '../lib/outbox';
import { completeResults, fromSnapshot, prepend, type Transcript } from '../lib/transcript';
import type { ChatFrame, Mode, Session } from '../lib/wire';
import { announcer, showFailure } from './announce.svelte';
import { Kept } from './kept';
import { live } from './live.svelte';
import { sessions } from './sessions.svelte';
import { Talk, turnOf, type Snapshot } from './talk.svelte';

const PAGE = 100;
/** How many older pages are read in search of one message. */
const MOST_PAGES = 30;

export class Chat extends Talk {
  readonly id: string;
  readonly hex: string;
  /** What the server says about it; the list may not reach back to it. */
  session = $state.raw<Session | null>(null);

  constructor(id: string) {
    super(id, live, toHex(id));
    this.id = id;
    this.hex = toHex(id);
  }

  get title(): string {
    return sessions.get(this.id)?.title ?? this.transcript.title ?? this.session?.title ?? '';
  }

  override open(): void {
    super.open();
    void this.#loadSession();
  }

  /** Reads older pages until the message is there. */
  async reach(messageId: string): Promise<boolean> {
    // What was followed live is known by its parts, not by its messages: the snapshot knows both.
    if (!this.has(messageId)) await this.load();
    for (let page = 0; page < MOST_PAGES; page += 1) {
      if (this.has(messageId)) return true;
      const before = this.now.oldest;
      await this.loadOlder();
      if (this.now.oldest === before) break;
    }
    return this.has(messageId);
  }

  /** The live frames carry the beginning of a long output only. */
  async loadWholeResults(): Promise<void> {
    try {
      const page = await api.messages(this.id, PAGE);
      this.set(completeResults(this.now, page.messages), true);
    } catch (error) {
      showFailure('The whole output could not be loaded.', error);
    }
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

  protected async fetch(): Promise<Snapshot> {
    const page = await api.messages(this.id, PAGE);
    return { transcript: fromSnapshot(page.messages, page.cursor, page.more), since: page.cursor ?? '0', more: false };
  }

  protected override async fetchOlder(before: string): Promise<(now: Transcript) => Transcript> {
    const page = await api.messages(this.id, PAGE, before);
    return (now) => prepend(now, page.messages, page.more);
  }

  protected async deliver({ text: content, clientId, mode }: Outgoing): Promise<void> {
    await api.sendMessage(this.hex, { content, clientId, ...(mode && { mode }) });
    sessions.refreshSoon();
  }

  protected cancel(): Promise<void> {
    return api.cancelTurn(this.hex);
  }

  protected tell(frame: ChatFrame): void {
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
        announcer.say(this.spokenAnswer(turnOf(frame)));
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
}

const kept = new Kept((id: string) => new Chat(id));

/** The conversation of that id, with what is still known of it from an earlier visit. */
export const chatOf = (id: string): Chat => kept.get(id);
export const forgetChats = (): void => kept.forget();
