// One open chat of the hub: its messages, who answers in it, and what an operator does there.

import { ApiError } from '../lib/api';
import * as hub from '../lib/hub';
import type { Activity, Chat, ChatAgent, Contact, Draft, HubFrame, Message, Place } from '../lib/hub';
import { freshId } from '../lib/ids';
import { mergeMessages, messagesAfter, prependMessages, refreshMessages } from '../lib/inbox';
import { loadOutbox, repeatAfterMs, saveOutbox, type Outgoing } from '../lib/outbox';
import { tabStorage } from '../lib/storage';
import { announcer, showFailure } from './announce.svelte';
import { HubNotes } from './hubnotes.svelte';
import { inbox } from './inbox.svelte';

const PAGE = 50;
const SPOKEN_CHARS = 280;

export class HubChat {
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading');
  messages = $state.raw<Message[]>([]);
  hasOlder = $state(false);
  loadingOlder = $state(false);
  outbox = $state.raw<Outgoing[]>([]);
  agents = $state.raw<ChatAgent[]>([]);
  drafts = $state.raw<Draft[]>([]);
  activity = $state.raw<Activity[]>([]);
  contact = $state.raw<Contact | null>(null);
  /** A request about the floor, the assignment or an agent is on its way. */
  working = $state(false);
  /** Messages that are being sent again. */
  resending = $state.raw<ReadonlySet<string>>(new Set());

  #open = false;
  #loads = 0;
  /** What happened while a page was being read, which may be older. */
  #early: HubFrame[] | null = null;
  #reading = false;
  #timers = new Set<ReturnType<typeof setTimeout>>();

  readonly notes: HubNotes;

  constructor(readonly place: Place) {
    this.notes = new HubNotes(place);
    this.outbox = loadOutbox(tabStorage(), place.chat);
  }

  get chat(): Chat | null {
    return inbox.known(this.place.chat);
  }

  open(): void {
    this.#open = true;
    this.notes.open();
    void this.load();
    for (const entry of this.outbox) if (entry.state === 'sending') void this.#deliver(entry);
  }

  close(): void {
    this.#open = false;
    this.notes.close();
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** Reads what is shown, also anew. */
  async load(): Promise<void> {
    this.#loads += 1;
    const mine = this.#loads;
    this.#early = [];
    if (this.state === 'failed') this.state = 'loading';
    try {
      const [chat, page] = await Promise.all([hub.chat(this.place), hub.messages(this.place, PAGE)]);
      if (mine !== this.#loads) return;
      const { messages, kept } = refreshMessages(this.messages, page.messages.toReversed(), page.has_more);
      const early = this.#early ?? [];
      this.#early = null;
      this.messages = early.reduce(messagesAfter, messages);
      if (!kept) this.hasOlder = page.has_more;
      inbox.put(chat);
      for (const frame of early) inbox.apply(frame);
      void this.loadDetails();
      // Notes stand between the messages: shown later, they would push what is being read out of its place.
      await this.notes.load(this.hasOlder ? this.messages[0]?.id : undefined);
      if (mine === this.#loads) this.state = 'ready';
    } catch (error) {
      if (mine !== this.#loads) return;
      this.#early = null;
      const isMissing = error instanceof ApiError && (error.status === 403 || error.status === 404);
      if (isMissing) this.state = 'missing';
      else if (this.state !== 'ready') this.state = 'failed';
    }
  }

  /** What stands beside the messages. */
  async loadDetails(): Promise<void> {
    try {
      const contact = this.contact ? Promise.resolve(this.contact) : hub.contact(this.chat?.contact_id ?? '');
      const all = [hub.chatAgents(this.place), hub.drafts(this.place), hub.activity(this.place), contact] as const;
      [this.agents, this.drafts, this.activity, this.contact] = await Promise.all(all);
    } catch {
      // The messages are what matters; this is read again with the next change.
    }
  }

  apply(frame: HubFrame): void {
    this.#early?.push(frame);
    if (frame.type === 'chat_deleted') {
      this.state = 'missing';
      return;
    }
    const before = this.messages;
    this.messages = messagesAfter(before, frame);
    if (frame.type === 'new_message' && this.messages !== before) {
      if (frame.sender_type === 'USER' && frame.sender_id === inbox.me) this.#forgetSent(frame.content);
      // The contact's message opens the window for longer; only the server knows until when.
      if (frame.sender_type === 'CONTACT' && this.chat?.window) void this.#refreshChat();
      if (frame.sender_type !== 'USER') announcer.say(`${frame.sender_type === 'AGENT' ? 'Agent' : 'Contact'}: ${frame.content.slice(0, SPOKEN_CHARS)}`);
    }
    if (frame.type === 'message_updated' && frame.delivery_status === 'FAILED') announcer.say('A message was not delivered.');
    if (frame.type === 'chat_updated') void this.loadDetails();
  }

  async loadOlder(arrived: () => void = () => {}): Promise<void> {
    const oldest = this.messages[0];
    if (!this.hasOlder || this.loadingOlder || !oldest) return;
    this.loadingOlder = true;
    try {
      const page = await hub.messages(this.place, PAGE, oldest.id);
      if (this.messages[0]?.id !== oldest.id) return;
      arrived();
      this.messages = prependMessages(this.messages, page.messages.toReversed());
      this.hasOlder = page.has_more;
      void this.notes.loadOlder(this.hasOlder ? this.messages[0]?.id : undefined, oldest.id);
    } catch (error) {
      showFailure('Older messages could not be loaded.', error);
    } finally {
      this.loadingOlder = false;
    }
  }

  send(text: string): void {
    const entry: Outgoing = { clientId: freshId(), text, mode: null, at: new Date().toISOString(), state: 'sending', reason: null };
    this.#setOutbox([...this.outbox, entry]);
    void this.#deliver(entry);
  }

  sendAgain(entry: Outgoing): void {
    const again: Outgoing = { ...entry, state: 'sending', reason: null };
    this.#setOutbox(this.outbox.map((one) => (one.clientId === entry.clientId ? again : one)));
    void this.#deliver(again);
  }

  discard(entry: Outgoing): void {
    this.#setOutbox(this.outbox.filter((one) => one.clientId !== entry.clientId));
  }

  /** The server stores a message of this name once, however often it is sent. */
  async #deliver(entry: Outgoing, attempt = 0): Promise<void> {
    try {
      const message = await hub.say(this.place, entry.text, entry.clientId);
      this.#setOutbox(this.outbox.filter((one) => one.clientId !== entry.clientId));
      // The frames that came meanwhile know more than this answer.
      if (!this.messages.some((one) => one.id === message.id)) this.messages = mergeMessages(this.messages, [message]);
    } catch (error) {
      const { status, retryAfterMs, message } = error instanceof ApiError ? error : new ApiError(400, '', 'That did not work.');
      const wait = repeatAfterMs(status, retryAfterMs, attempt, Math.random());
      if (wait !== null && this.#open) {
        const timer = setTimeout(() => void this.#deliver(entry, attempt + 1), wait);
        this.#timers.add(timer);
      } else if (wait === null) {
        const refused: Outgoing = { ...entry, state: 'refused', reason: message };
        this.#setOutbox(this.outbox.map((one) => (one.clientId === entry.clientId ? refused : one)));
      }
    }
  }

  /** Its frame came before the answer to its request: it is not shown twice. */
  #forgetSent(text: string): void {
    const sent = this.outbox.find((entry) => entry.state === 'sending' && entry.text === text);
    if (sent) this.outbox = this.outbox.map((one) => (one === sent ? { ...one, state: 'stored' } : one));
  }

  #setOutbox(outbox: Outgoing[]): void {
    this.outbox = outbox;
    saveOutbox(tabStorage(), this.place.chat, outbox);
  }

  async resend(message: Message): Promise<void> {
    this.resending = new Set([...this.resending, message.id]);
    try {
      const again = await hub.resend(this.place, message.id);
      // A frame may have told already what became of it.
      const now = this.messages.find((one) => one.id === message.id);
      if (now?.delivery_status === 'FAILED' && now === message) this.messages = mergeMessages(this.messages, [again]);
      announcer.say('Sent again.');
    } catch (error) {
      showFailure('The message could not be sent again.', error);
    } finally {
      this.resending = new Set([...this.resending].filter((id) => id !== message.id));
    }
  }

  take = (): Promise<void> => this.#act('You could not take over.', async () => {
    inbox.put(await hub.take(this.place));
    announcer.say('You have taken over.');
  });

  release = (): Promise<void> => this.#act('The conversation could not be handed back.', async () => {
    inbox.put(await hub.release(this.place));
    announcer.say('Handed back.');
  });

  assign = (user: string | null): Promise<void> => this.#act('The chat could not be assigned.', async () => {
    inbox.put(await hub.assign(this.place, user));
  });

  linkAgent = (agent: string): Promise<void> => this.#act('The agent could not be added.', async () => {
    await hub.linkAgent(this.place, agent);
    await this.#refresh();
  });

  setAgent = (agent: string, active: boolean): Promise<void> => this.#act('The agent could not be changed.', async () => {
    await hub.setChatAgent(this.place, agent, active);
    await this.#refresh();
  });

  archive = (): Promise<void> => this.#act('The chat could not be archived.', () => hub.archive(this.place));

  async #refresh(): Promise<void> {
    await this.#refreshChat();
    await this.loadDetails();
  }

  async #refreshChat(): Promise<void> {
    await hub.chat(this.place).then(inbox.put, () => {});
  }

  async #act(failed: string, work: () => Promise<void>): Promise<void> {
    if (this.working) return;
    this.working = true;
    try {
      await work();
    } catch (error) {
      showFailure(failed, error);
    } finally {
      this.working = false;
    }
  }

  /** Somebody looks at the newest messages. */
  async markRead(): Promise<void> {
    const { chat } = this;
    if (!chat || chat.unread_count === 0 || this.#reading || this.state !== 'ready') return;
    this.#reading = true;
    try {
      const unread = await hub.markRead(this.place, this.messages.at(-1)?.id);
      const now = this.chat;
      if (now) inbox.put({ ...now, unread_count: unread });
    } catch {
      // It stays unread, and is tried again with the next message.
    } finally {
      this.#reading = false;
    }
  }
}
