// A conversation about a project. Its log is read from its beginning over the project's own socket, so what is shown after a
// reload is what was shown live; REST tells what was finished before, and when it was said.

import { ApiError } from '../lib/api';
import * as api from '../lib/assistant';
import { AssistantProtocol } from '../lib/assistant_frames';
import { socketUrl } from '../lib/base';
import { freshId, toHex } from '../lib/ids';
import { repeatAfterMs, type Outgoing } from '../lib/outbox';
import { empty } from '../lib/transcript';
import type { ChatFrame } from '../lib/wire';
import { announcer } from './announce.svelte';
import { Kept } from './kept';
import { Line } from './live.svelte';
import { projects, type Conversations } from './projects.svelte';
import { Talk, turnOf, type Snapshot } from './talk.svelte';

/**
 * How long a stored message may take to come back. Another client can end the session that binds our socket, of which an idle
 * socket is not told: then we bind again.
 */
const BOUND_MS = 5_000;

export class ProjectChat extends Talk {
  #title = $state<string | null>(null);
  readonly #conversations: Conversations;
  /** When the messages were said that were stored before we listened. */
  #times = new Map<string, string>();
  /** Turns that had ended before we listened. */
  #past = new Set<string>();

  constructor(
    readonly project: string,
    readonly id: number,
  ) {
    super(`${project}/${id}`, new Line(socketUrl(`api/assistant/ws/${encodeURIComponent(project)}`), new AssistantProtocol()), String(id));
    this.#conversations = projects.conversationsOf(project);
  }

  get title(): string {
    return this.#conversations.get(this.id)?.title ?? this.#title ?? 'New conversation';
  }

  override close(): void {
    super.close();
    this.line.stop();
  }

  async rename(title: string): Promise<void> {
    await this.#conversations.rename(this.id, title);
    this.#title = this.#conversations.get(this.id)?.title ?? title;
  }

  answer(answers: Record<string, string[]>, text: string): void {
    this.send(text, { answers });
  }

  protected async fetch(): Promise<Snapshot> {
    const found = await api.detail(this.project, this.id);
    this.#title = found.title;
    const said = found.messages.filter((row) => row.role === 'user');
    this.#times = new Map(said.map((row) => [String(row.id), row.timestamp]));
    const answers = found.messages.filter((row) => row.role !== 'user');
    this.#past = new Set(answers.map((row) => toHex(row.turn_id)));
    return { transcript: empty, since: '0', more: found.messages.length > 0 };
  }

  protected override follow(since: string): void {
    super.follow(since);
    // The server binds a socket that says nothing to what was left last: it must not be open before there is something to say.
    this.line.start();
  }

  protected override received(frame: ChatFrame): void {
    if (frame.type === 'user_message') {
      const timestamp = this.#times.get(frame.messageId) ?? new Date().toISOString();
      return super.received({ ...frame, timestamp });
    }
    super.received(frame);
  }

  protected async deliver({ clientId, text, answers }: Outgoing): Promise<void> {
    if (answers) await api.answer(this.project, this.id, answers, clientId);
    else await api.post(this.project, this.id, text, clientId);
    setTimeout(() => this.#bindAgain(clientId), BOUND_MS);
  }

  #bindAgain(clientId: string): void {
    if (!this.isOpen || !this.awaits(clientId)) return;
    this.line.stop();
    this.follow(this.now.seq ?? '0');
  }

  protected async cancel(): Promise<void> {
    await api.cancel(this.project, this.id);
  }

  protected tell(frame: ChatFrame): void {
    const now = new Date().toISOString();
    switch (frame.type) {
      case 'user_message':
        if (this.#times.has(frame.messageId)) return;
        this.#conversations.touch(this.id, { busy: true, updated_at: now });
        return this.#conversations.refreshSoon();
      case 'turn_started':
        if (!this.#past.has(turnOf(frame))) announcer.say('Answering.');
        return;
      case 'result':
      case 'error':
        if (!frame.turnId || this.#past.has(turnOf(frame))) return;
        this.#conversations.touch(this.id, { busy: false, updated_at: now });
        announcer.say(this.spokenAnswer(turnOf(frame)));
        return this.#conversations.refreshSoon();
      case 'chat_removed':
        this.state = 'missing';
        return this.#conversations.refreshSoon();
      default:
    }
  }
}

const kept = new Kept((key: string) => {
  const at = key.lastIndexOf('/');
  return new ProjectChat(key.slice(0, at), Number(key.slice(at + 1)));
});

/** The conversation of that number, with what is still known of it from an earlier visit. */
export const projectChatOf = (project: string, id: number): ProjectChat => kept.get(`${project}/${id}`);
export const forgetProjectChats = (): void => kept.forget();

/** Makes a conversation and says the first words in it. Asks until it is known to be made; throws what is said against it. */
export async function begin(project: string, text: string): Promise<ProjectChat> {
  const clientId = freshId();
  for (let attempt = 0; ; attempt += 1) {
    try {
      const made = await api.create(project, clientId);
      projects.conversationsOf(project).put(made);
      const chat = projectChatOf(project, made.id);
      chat.send(text);
      return chat;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const pause = repeatAfterMs(error.status, error.retryAfterMs, attempt, Math.random());
      if (pause === null) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}
