// The hub as an administrator uses it, over its API.

import { once } from 'node:events';

import WebSocket from 'ws';

import { until } from './until.mjs';

export class Hub {
  #server;
  #token;

  /** A fresh one, with its first account. */
  static async begun(server) {
    const hub = new Hub();
    hub.#server = server;
    hub.#token = server.token();
    const session = await hub.post('/auth/signup', { username: 'ana', password: 'correct horse battery' });
    hub.#token = session.access_token;
    return hub;
  }

  async call(method, path, body) {
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${this.#server.url}${path}`, { method, headers, body: body && JSON.stringify(body) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(told)}`);
    return told;
  }

  get(path) {
    return this.call('GET', path);
  }

  post(path, body = {}) {
    return this.call('POST', path, body);
  }

  put(path, body) {
    return this.call('PUT', path, body);
  }

  channel(body) {
    return this.post('/channels', body);
  }

  /** One of ours, that answers every new contact at once. */
  agent(more = {}) {
    const body = { name: 'Help', kind: 'builtin', model: 'demo/demo', buffer_time_seconds: 0, activate_for_new_conversation: true };
    return this.post('/auth/agents', { ...body, ...more });
  }

  async chats(channel) {
    return (await this.get(`/channels/${channel.id}/chats?limit=100`)).chats;
  }

  /** The chat with whoever has this address, as soon as there is one. */
  async chatWith(channel, address) {
    return until(`a chat with ${address}`, async () => (await this.chats(channel)).find((chat) => chat.external_id === address));
  }

  /** What was said, the oldest first. */
  async messages(chat) {
    const { messages } = await this.get(`/channels/${chat.channel_id}/chats/${chat.id}/messages?limit=100`);
    return messages.reverse();
  }

  /** What was said, as soon as nothing of it is on its way. */
  async atRest(chat) {
    return until('nothing is on its way', async () => {
      const all = await this.messages(chat);
      return all.every((one) => one.delivery_status !== 'PENDING') && all;
    });
  }

  /** The message with these words, as soon as it is in that state. */
  async settled(chat, content, status) {
    return until(`${JSON.stringify(content)} is ${status}`, async () =>
      (await this.messages(chat)).find((one) => one.content === content && one.delivery_status === status),
    );
  }

  say(chat, content) {
    return this.post(`/channels/${chat.channel_id}/chats/${chat.id}/messages`, { content });
  }

  take(chat) {
    return this.post(`/channels/${chat.channel_id}/chats/${chat.id}/take`);
  }

  release(chat) {
    return this.post(`/channels/${chat.channel_id}/chats/${chat.id}/release`);
  }

  /** Follows what happens, in a list that goes on from there. */
  async watch(events = []) {
    const socket = new WebSocket(`${this.#server.url.replace('http', 'ws')}/ws?token=${this.#token}`);
    socket.on('message', (frame) => events.push(JSON.parse(frame)));
    await once(socket, 'message');
    return { events, stop: () => socket.terminate() };
  }
}
