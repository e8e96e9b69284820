// Does what socket.ts decides: one WebSocket per tab, its timers, and the events of the page.

import { initial, step, type Effect, type Phase, type SocketEvent, type SocketState, type TimerName } from './socket';
import type { ChatFrame, Frame } from './wire';

export interface Listener {
  phase(phase: Phase): void;
  frame(frame: ChatFrame): void;
  lost(chatId: string): void;
  gone(chatId: string): void;
  hub(frame: Frame): void;
  hubLost(): void;
  probe(): Promise<'known' | 'unknown' | 'unreachable'>;
}

/** How a socket speaks that does not speak as state and transcript expect. */
export interface Protocol {
  /** What is taken as received when the socket has opened. */
  opened(): Frame[];
  /** What is sent for a frame of the state machine; null: nothing. */
  send(frame: Record<string, unknown>): Record<string, unknown> | null;
  receive(frame: Frame): Received;
}

export interface Received {
  frames: Frame[];
  /** The socket is of no more use. */
  close?: boolean;
}

export class Connection {
  #state: SocketState = initial;
  #socket: WebSocket | null = null;
  #timers = new Map<TimerName, ReturnType<typeof setTimeout>>();
  /** Ends listening to the page. */
  #watching: AbortController | null = null;

  constructor(
    private readonly url: string,
    private readonly listener: Listener,
    private readonly protocol: Protocol | null = null,
  ) {}

  start = (): void => {
    this.#watch();
    this.#happened({ type: 'start' });
  };

  stop = (): void => {
    this.#watching?.abort();
    this.#watching = null;
    this.#happened({ type: 'stop' });
  };

  /** Tries now instead of at the end of the pause. */
  hurry = (): void => this.#happened({ type: 'woken' });
  follow = (chatId: string, since: string): void => this.#happened({ type: 'follow', chatId, since });
  unfollow = (chatId: string): void => this.#happened({ type: 'unfollow', chatId });
  followHub = (): void => this.#happened({ type: 'follow_hub' });

  #watch(): void {
    if (this.#watching) return;
    this.#watching = new AbortController();
    const { signal } = this.#watching;
    addEventListener('online', this.hurry, { signal });
    addEventListener('pageshow', (event) => event.persisted && this.hurry(), { signal });
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.hurry(), { signal });
  }

  #happened(event: SocketEvent): void {
    const before = this.#state.phase;
    const { state, effects } = step(this.#state, event, Math.random());
    this.#state = state;
    for (const effect of effects) this.#do(effect);
    if (this.#state.phase !== before) this.listener.phase(this.#state.phase);
  }

  #do(effect: Effect): void {
    switch (effect.type) {
      case 'open':
        return this.#open();
      case 'close':
        return this.#close();
      case 'send':
        return this.#send(effect.frame);
      case 'timer':
        clearTimeout(this.#timers.get(effect.name));
        this.#timers.set(
          effect.name,
          setTimeout(() => this.#happened({ type: 'timer', name: effect.name }), effect.afterMs),
        );
        return;
      case 'clear':
        return clearTimeout(this.#timers.get(effect.name));
      case 'probe':
        void this.listener.probe().then((answer) => this.#happened({ type: 'probed', answer }));
        return;
      case 'deliver':
        return this.listener.frame(effect.frame);
      case 'lost':
        return this.listener.lost(effect.chatId);
      case 'gone':
        return this.listener.gone(effect.chatId);
      case 'hub':
        return this.listener.hub(effect.frame);
      case 'hub_lost':
        return this.listener.hubLost();
    }
  }

  #send(frame: Record<string, unknown>): void {
    const said = this.protocol ? this.protocol.send(frame) : frame;
    if (said && this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(said));
  }

  #open(): void {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (this.#socket === socket && this.protocol) this.#received({ frames: this.protocol.opened() });
    };
    socket.onmessage = (event: MessageEvent) => {
      const frame = parse(event.data);
      if (this.#socket !== socket || !frame) return;
      this.#received(this.protocol ? this.protocol.receive(frame) : { frames: [frame] });
    };
    socket.onclose = (event) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#happened({ type: 'closed', code: event.code, reason: event.reason, opened });
    };
  }

  #received({ frames, close = false }: Received): void {
    for (const frame of frames) this.#happened({ type: 'frame', frame });
    if (close) this.#close();
  }

  /** Lets go of the socket at once: a dead connection may take minutes to say that it is closed. */
  #close(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.close();
    this.#happened({ type: 'closed', code: 1006, reason: '', opened: true });
  }
}

function parse(data: unknown): Frame | null {
  try {
    const value: unknown = typeof data === 'string' ? JSON.parse(data) : null;
    const isFrame = typeof value === 'object' && value !== null && typeof (value as Frame).type === 'string';
    return isFrame ? (value as Frame) : null;
  } catch {
    return null;
  }
}
