// The reconnecting socket as a pure state machine: what happened goes in, what to do comes out. connection.ts does it.

import { NOTE_EVENTS } from './team';
import type { ChatFrame, Frame } from './wire';

export type Phase =
  /** Not wanted. */
  | 'idle'
  | 'connecting'
  | 'open'
  /** A pause before the next attempt. */
  | 'waiting'
  /** The server does not know us any more. */
  | 'signed_out';

export interface Following {
  /** The position after the last frame that was delivered. */
  since: string;
  /** `asked`: the answer to our `subscribe` is on its way, and frames until then belong to an older stream. `lost`: a new snapshot is needed. */
  state: 'parked' | 'asked' | 'live' | 'lost';
}

export interface SocketState {
  phase: Phase;
  /** Attempts since the last greeting. */
  attempt: number;
  following: Record<string, Following>;
  /** Per chat, the `subscribe` frames of this connection that are not answered yet: only the last one's stream counts. */
  asks: Record<string, number>;
  /** A ping is out and nothing has come back yet. */
  pinged: boolean;
  /** Null: the hub's events are not wanted. */
  hub: HubFollowing | null;
}

export interface HubFollowing {
  /** The number of the last event that was delivered; null if there was none yet. */
  after: number | null;
  /** Behind this connection's `subscribe` nothing has been missed, once it is answered. */
  complete: boolean;
}

export type SocketEvent =
  | { type: 'start' }
  | { type: 'stop' }
  | { type: 'closed'; code: number; reason: string; opened: boolean }
  | { type: 'frame'; frame: Frame }
  | { type: 'timer'; name: TimerName }
  /** The network or the page came back: no reason to wait any longer. */
  | { type: 'woken' }
  /** What `/api/me` said after an upgrade was refused. */
  | { type: 'probed'; answer: 'known' | 'unknown' | 'unreachable' }
  | { type: 'follow'; chatId: string; since: string }
  | { type: 'unfollow'; chatId: string }
  | { type: 'follow_hub' };

export type TimerName = 'retry' | 'ping' | 'silence';

export type Effect =
  | { type: 'open' }
  | { type: 'close' }
  | { type: 'send'; frame: Record<string, unknown> }
  | { type: 'timer'; name: TimerName; afterMs: number }
  | { type: 'clear'; name: TimerName }
  | { type: 'probe' }
  | { type: 'deliver'; frame: ChatFrame }
  /** The position is unknown to the server: the chat needs a new snapshot. */
  | { type: 'lost'; chatId: string }
  /** The conversation is gone, or was never ours. */
  | { type: 'gone'; chatId: string }
  | { type: 'hub'; frame: Frame }
  /** Events of the hub may be missing: what is shown must be read anew. */
  | { type: 'hub_lost' };

export const initial: SocketState = { phase: 'idle', attempt: 0, following: {}, asks: {}, pinged: false, hub: null };

const HUB_EVENTS = ['new_message', 'message_updated', 'chat_updated', 'chat_deleted', ...NOTE_EVENTS];

const PING_EVERY_MS = 25_000;
/** How long an answer to a ping may take; anything that arrives counts. */
const SILENCE_MS = 10_000;
const SILENCE_AFTER_WAKING_MS = 3_000;
const FIRST_MS = 400;
const LONGEST_MS = 15_000;
const TOO_MANY_FRAMES_MS = 10_000;
const POLICY_MS = 60_000;

export interface Step {
  state: SocketState;
  effects: Effect[];
}

/** `random` is in [0, 1): it spreads the attempts of many clients. */
export function step(state: SocketState, event: SocketEvent, random: number): Step {
  switch (event.type) {
    case 'start':
      return state.phase === 'idle' || state.phase === 'signed_out' ? connect({ ...state, attempt: 0 }) : stay(state);
    case 'stop':
      return { state: { ...initial }, effects: [...quiet(), { type: 'clear', name: 'retry' }, { type: 'close' }] };
    case 'closed':
      return closed(state, event, random);
    case 'probed':
      if (event.answer !== 'unknown') return stay(state);
      return { state: { ...park(state), phase: 'signed_out' }, effects: [...quiet(), { type: 'clear', name: 'retry' }] };
    case 'timer':
      return timer(state, event.name);
    case 'woken':
      return woken(state);
    case 'frame':
      return received(state, event.frame);
    case 'follow':
      return follow(state, event.chatId, event.since);
    case 'unfollow':
      return unfollow(state, event.chatId);
    case 'follow_hub':
      return followHub(state);
  }
}

const stay = (state: SocketState): Step => ({ state, effects: [] });

const quiet = (): Effect[] => [
  { type: 'clear', name: 'ping' },
  { type: 'clear', name: 'silence' },
];

function connect(state: SocketState): Step {
  return { state: { ...state, phase: 'connecting' }, effects: [{ type: 'clear', name: 'retry' }, { type: 'open' }] };
}

function greeted(state: SocketState): Step {
  if (state.phase !== 'connecting') return stay(state);
  const following: Record<string, Following> = {};
  const asks: Record<string, number> = {};
  const effects: Effect[] = [{ type: 'timer', name: 'ping', afterMs: PING_EVERY_MS }];
  for (const [chatId, chat] of Object.entries(state.following)) {
    following[chatId] = chat.state === 'lost' ? chat : { ...chat, state: 'asked' };
    if (chat.state === 'lost') continue;
    asks[chatId] = 1;
    effects.push(subscribe(chatId, chat.since));
  }
  if (state.hub) effects.push(subscribeHub(state.hub));
  return { state: { ...state, phase: 'open', attempt: 0, following, asks, pinged: false }, effects };
}

const subscribe = (chatId: string, since: string): Effect => ({
  type: 'send',
  frame: { type: 'subscribe', chatId, since, include: ['reasoning'] },
});

function closed(state: SocketState, event: { code: number; reason: string; opened: boolean }, random: number): Step {
  if (state.phase === 'idle' || state.phase === 'signed_out') return stay(state);
  const parked = park(state);
  if (event.code === 4401 || event.code === 4403) {
    return { state: { ...parked, phase: 'signed_out' }, effects: quiet() };
  }
  const effects: Effect[] = [...quiet(), { type: 'timer', name: 'retry', afterMs: pause(state.attempt, event, random) }];
  // A refused upgrade looks like a broken connection to a page: only a request can tell them apart.
  if (!event.opened) effects.push({ type: 'probe' });
  return { state: { ...parked, phase: 'waiting', attempt: state.attempt + 1 }, effects };
}

function pause(attempt: number, event: { code: number; reason: string }, random: number): number {
  const told = event.code === 1012 ? /retry in (\d+)/.exec(event.reason)?.[1] : undefined;
  if (told !== undefined) return Math.min(Number(told), POLICY_MS);
  if (event.code === 1008) return POLICY_MS;
  const least = event.code === 4429 ? TOO_MANY_FRAMES_MS : 0;
  return Math.round(least + Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.5 + random / 2));
}

function park(state: SocketState): SocketState {
  const following: Record<string, Following> = {};
  for (const [chatId, chat] of Object.entries(state.following)) {
    following[chatId] = chat.state === 'lost' ? chat : { ...chat, state: 'parked' };
  }
  return { ...state, following, asks: {}, pinged: false, hub: state.hub && { ...state.hub, complete: false } };
}

function timer(state: SocketState, name: TimerName): Step {
  if (name === 'retry') return state.phase === 'waiting' ? connect(state) : stay(state);
  if (state.phase !== 'open') return stay(state);
  if (name === 'ping') return ping(state, SILENCE_MS);
  // Silence: the connection is dead, though nobody has told us.
  return state.pinged ? { state, effects: [{ type: 'close' }] } : stay(state);
}

function ping(state: SocketState, patienceMs: number): Step {
  return {
    state: { ...state, pinged: true },
    effects: [
      { type: 'send', frame: { type: 'ping' } },
      { type: 'timer', name: 'silence', afterMs: patienceMs },
      { type: 'timer', name: 'ping', afterMs: PING_EVERY_MS },
    ],
  };
}

function woken(state: SocketState): Step {
  if (state.phase === 'waiting') return connect({ ...state, attempt: 0 });
  if (state.phase === 'open') return ping(state, SILENCE_AFTER_WAKING_MS);
  return stay(state);
}

function received(state: SocketState, frame: Frame): Step {
  const effects: Effect[] = state.pinged ? [{ type: 'clear', name: 'silence' }] : [];
  const awake = state.pinged ? { ...state, pinged: false } : state;
  const next = dispatch(awake, frame);
  return { state: next.state, effects: [...effects, ...next.effects] };
}

function dispatch(state: SocketState, frame: Frame): Step {
  if (frame.type === 'connected') return greeted(state);
  if (frame.chatId !== undefined) return ofChat(state, frame.chatId, frame);
  return state.hub ? ofHub(state, state.hub, frame) : stay(state);
}

function ofHub(state: SocketState, hub: HubFollowing, frame: Frame): Step {
  if (frame.type === 'subscription_ack') {
    // Without a place to go on from, what happened while nobody listened is known to no event.
    const effects: Effect[] = hub.after === null && !hub.complete ? [{ type: 'hub_lost' }] : [];
    return { state: { ...state, hub: { ...hub, complete: true } }, effects };
  }
  if (frame.type === 'resync') return { state, effects: [{ type: 'hub_lost' }] };
  const after = Number(frame.seq);
  if (!HUB_EVENTS.includes(frame.type) || Number.isNaN(after)) return stay(state);
  // The numbers only rise, unless the server's data were put back to an older state.
  const effects: Effect[] = after > (hub.after ?? 0) ? [{ type: 'hub', frame }] : [{ type: 'hub_lost' }];
  return { state: { ...state, hub: { ...hub, after } }, effects };
}

function ofChat(state: SocketState, chatId: string, frame: Frame): Step {
  if (frame.type === 'subscribed') return answered(state, chatId, 'live');
  if (frame.type === 'error' && frame.turnId === undefined) {
    if (frame.code === 'bad_cursor') return answered(state, chatId, 'lost');
    if (frame.code === 'not_found') return answered(state, chatId, 'gone');
    return stay(state);
  }
  const chat = state.following[chatId];
  if (chat?.state !== 'live' || frame.type === 'history') return stay(state);
  const effects: Effect[] = [{ type: 'deliver', frame: frame as unknown as ChatFrame }];
  if (frame.type === 'chat_removed') return { state: without(state, chatId), effects };
  return { state: put(state, chatId, { ...chat, since: frame.seq ?? chat.since }), effects };
}

/** The answer to one of our `subscribe` frames; what is not the answer to the last one changes nothing. */
function answered(state: SocketState, chatId: string, how: 'live' | 'lost' | 'gone'): Step {
  const open = (state.asks[chatId] ?? 0) - 1;
  if (open < 0) return stay(state);
  const counted = { ...state, asks: { ...state.asks, [chatId]: open } };
  const chat = state.following[chatId];
  if (open > 0 || chat?.state !== 'asked') return stay(counted);
  if (how === 'gone') return { state: without(counted, chatId), effects: [{ type: 'gone', chatId }] };
  return { state: put(counted, chatId, { ...chat, state: how }), effects: how === 'lost' ? [{ type: 'lost', chatId }] : [] };
}

const put = (state: SocketState, chatId: string, chat: Following): SocketState => ({
  ...state,
  following: { ...state.following, [chatId]: chat },
});

function follow(state: SocketState, chatId: string, since: string): Step {
  if (state.phase !== 'open') return stay(put(state, chatId, { since, state: 'parked' }));
  const asks = { ...state.asks, [chatId]: (state.asks[chatId] ?? 0) + 1 };
  return { state: put({ ...state, asks }, chatId, { since, state: 'asked' }), effects: [subscribe(chatId, since)] };
}

function followHub(state: SocketState): Step {
  if (state.hub) return stay(state);
  const hub = { after: null, complete: false };
  return { state: { ...state, hub }, effects: state.phase === 'open' ? [subscribeHub(hub)] : [] };
}

/** An empty list stands for every channel that may be seen; notes come only to who asks for them. */
const subscribeHub = ({ after }: HubFollowing): Effect => ({
  type: 'send',
  frame: { type: 'subscribe', channels: [], notes: true, ...(after === null ? {} : { after }) },
});

function unfollow(state: SocketState, chatId: string): Step {
  if (!state.following[chatId]) return stay(state);
  const effects: Effect[] = state.phase === 'open' ? [{ type: 'send', frame: { type: 'unsubscribe', chatId } }] : [];
  return { state: without(state, chatId), effects };
}

function without(state: SocketState, chatId: string): SocketState {
  const { [chatId]: _gone, ...following } = state.following;
  return { ...state, following };
}
