// The inbox: channels, chats and agents that one may see, kept true by the hub's live events.

import { ApiError } from '../lib/api';
import * as hub from '../lib/hub';
import type { Agent, Channel, Chat, Filter, HubFrame, Place, User } from '../lib/hub';
import { afterFrame, belongs, isWithin, mergeChats, refreshChats } from '../lib/inbox';
import { isNoteFrame } from '../lib/team';
import { showFailure } from './announce.svelte';
import { auth } from './auth.svelte';
import { canned } from './canned.svelte';
import { HubChat } from './hubchat.svelte';
import { live } from './live.svelte';

const PAGE = 40;
const REFRESH_SOON_MS = 300;
const SEARCH_AFTER_MS = 250;
/** No event tells of a channel's health. */
const CHANNELS_EVERY_MS = 10_000;

type Phase = 'idle' | 'loading' | 'ready' | 'failed' | 'not_signed_in';

let phase = $state<Phase>('idle');
/** Whether the side bar shows a way here. */
let shown = $state(false);
let channels = $state.raw<Channel[]>([]);
let users = $state.raw<User[]>([]);
let agents = $state.raw<Agent[]>([]);
let hasUsers = $state(true);
let chats = $state.raw<Chat[]>([]);
/** Every chat that was told of, also those that the list does not show. */
let all = $state.raw<ReadonlyMap<string, Chat>>(new Map());
let filter = $state.raw<Filter>({ channel: null, kind: 'all', words: '' });
let listed = $state<'loading' | 'ready' | 'failed'>('loading');
let more = $state(false);
let loadingMore = $state(false);
let open = $state.raw<HubChat | null>(null);

let listLoads = 0;
let soon: ReturnType<typeof setTimeout> | undefined;
let typing: ReturnType<typeof setTimeout> | undefined;
let every: ReturnType<typeof setInterval> | undefined;

const isAdmin = (): boolean => auth.me?.role === 'ADMIN';
const me = (): string | null => users.find((user) => user.username === auth.me?.name)?.id ?? null;

function put(chat: Chat): void {
  all = new Map(all).set(chat.id, chat);
  if (!belongs(chat, filter, me())) {
    chats = chats.filter((one) => one.id !== chat.id);
    return;
  }
  const isListed = chats.some((one) => one.id === chat.id);
  // What the words match and what is archived only the server knows.
  const isKnown = filter.words.trim() === '' && filter.kind !== 'archived';
  if (isListed || (isKnown && isWithin(chats, chat, more))) chats = mergeChats(chats, [chat]);
  else if (!isKnown) refreshSoon();
}

/** What a frame says of its chat; an unknown one is asked for. */
function apply(frame: HubFrame): void {
  const known = all.get(frame.chat_id);
  if (frame.type === 'chat_updated') return put(frame.chat_data);
  if (frame.type === 'chat_deleted') {
    chats = chats.filter((chat) => chat.id !== frame.chat_id);
    return;
  }
  const next = known ? afterFrame(known, frame) : null;
  if (next && next !== known) put(next);
  else if (!known) refreshSoon();
}

/** However much happens, the list is asked for only so often. */
function refreshSoon(): void {
  soon ??= setTimeout(() => void loadList(false), REFRESH_SOON_MS);
}

/** `anew`: the list is another one, and what is shown must go. */
async function loadList(anew: boolean): Promise<void> {
  listLoads += 1;
  const mine = listLoads;
  clearTimeout(soon);
  soon = undefined;
  if (anew) {
    chats = [];
    more = false;
    listed = 'loading';
  }
  try {
    const page = await hub.chats(filter, me(), PAGE);
    if (mine !== listLoads) return;
    remember(page.chats);
    chats = refreshChats(chats, page.chats, !page.has_more);
    if (listed !== 'ready' || !page.has_more) more = page.has_more;
    listed = 'ready';
  } catch (error) {
    if (mine === listLoads && listed === 'loading') listed = error instanceof ApiError && error.status === 403 ? 'ready' : 'failed';
  }
}

function remember(fresh: Chat[]): void {
  const next = new Map(all);
  for (const chat of fresh) next.set(chat.id, chat);
  all = next;
}

async function loadChannels(): Promise<void> {
  channels = await hub.channels();
}

/** Everything that is shown, after a gap or at the beginning. */
async function load(): Promise<void> {
  if (phase === 'idle' || phase === 'failed') phase = 'loading';
  try {
    const [, known, ours, people] = await Promise.all([loadChannels(), hub.users(), hub.agents(), hub.hasUsers()]);
    [users, agents, hasUsers] = [known, ours, people];
    phase = 'ready';
    await loadList(false);
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    if (status === hub.NOT_SIGNED_IN) phase = 'not_signed_in';
    else if (phase !== 'ready') phase = 'failed';
  }
}

const follower = {
  frame(raw: Parameters<typeof hub.asHubFrame>[0]): void {
    if (isNoteFrame(raw)) {
      if (open?.place.chat === raw.chat_id) open.notes.apply(raw);
      return;
    }
    const frame = hub.asHubFrame(raw);
    if (open?.place.chat === frame.chat_id) open.apply(frame);
    apply(frame);
  },
  lost(): void {
    void load();
    void open?.load();
  },
};

export const inbox = {
  get phase() {
    return phase;
  },
  get shown() {
    return shown || isAdmin();
  },
  get channels() {
    return channels;
  },
  get users() {
    return users;
  },
  get agents() {
    return agents;
  },
  /** Nobody has an account yet. */
  get isNew() {
    return !hasUsers;
  },
  get chats() {
    return chats;
  },
  get filter() {
    return filter;
  },
  get listed() {
    return listed;
  },
  get more() {
    return more;
  },
  get loadingMore() {
    return loadingMore;
  },
  get isAdmin() {
    return isAdmin();
  },
  /** Our account; null for the owner, who has none. */
  get me() {
    return me();
  },
  get open() {
    return open;
  },
  known: (id: string): Chat | null => all.get(id) ?? null,
  channel: (id: string): Channel | null => channels.find((channel) => channel.id === id) ?? null,
  put,
  apply,
  load,

  /** Members see the inbox once there is something for them in it. */
  async look(): Promise<void> {
    if (isAdmin() || shown) return;
    try {
      shown = (await hub.channels()).length > 0 || (await hub.chats(filter, null, 1)).chats.length > 0;
    } catch {
      // Asked again with the next page.
    }
  },
  start(): void {
    if (phase !== 'idle') return;
    void load();
    live.followHub(follower);
    every = setInterval(() => document.visibilityState === 'visible' && phase === 'ready' && void inbox.lookAtChannels(), CHANNELS_EVERY_MS);
  },
  stop(): void {
    clearInterval(every);
    clearTimeout(soon);
    clearTimeout(typing);
    soon = undefined;
    listLoads += 1;
    phase = 'idle';
    shown = false;
    [channels, users, agents, chats] = [[], [], [], []];
    canned.forget();
    all = new Map();
    filter = { channel: null, kind: 'all', words: '' };
    listed = 'loading';
    open?.close();
    open = null;
  },
  async lookAtChannels(): Promise<void> {
    await loadChannels().catch(() => {});
  },
  async lookAtAgents(): Promise<void> {
    agents = await hub.agents();
  },
  async lookAtUsers(): Promise<void> {
    users = await hub.users();
  },
  show(next: Partial<Filter>): void {
    const isSame = Object.entries(next).every(([name, value]) => filter[name as keyof Filter] === value);
    if (isSame) return;
    const onlyWords = Object.keys(next).every((name) => name === 'words');
    filter = { ...filter, ...next };
    if (phase !== 'ready') return;
    clearTimeout(typing);
    // Typing asks once, when it has ended.
    if (onlyWords) typing = setTimeout(() => void loadList(true), SEARCH_AFTER_MS);
    else void loadList(true);
  },
  retryList: (): void => void loadList(true),
  async loadMore(): Promise<void> {
    const last = chats.at(-1);
    if (!more || loadingMore || !last) return;
    loadingMore = true;
    const mine = listLoads;
    try {
      const page = await hub.chats(filter, me(), PAGE, last.id);
      if (mine !== listLoads) return;
      remember(page.chats);
      chats = mergeChats(chats, page.chats);
      more = page.chats.length === PAGE;
    } catch (error) {
      showFailure('More chats could not be loaded.', error);
    } finally {
      loadingMore = false;
    }
  },
  openChat(place: Place | null): void {
    if (open?.place.chat === place?.chat) return;
    open?.close();
    open = place && new HubChat(place);
    open?.open();
  },
};
