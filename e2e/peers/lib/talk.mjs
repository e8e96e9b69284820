// Sessions and chats as their clients use them.

import { once } from 'node:events';

import WebSocket from 'ws';

export class Session {
  #server;
  #headers;
  #path;

  static async open(server, provider) {
    const session = new Session();
    session.#server = server;
    session.#headers = { authorization: `Bearer ${server.token()}`, 'content-type': 'application/json' };
    const { id } = await session.#json('POST', '/api/sessions', { provider, model: 'story' });
    session.#path = `/api/sessions/${id}`;
    return session;
  }

  async #json(method, path, body) {
    const answer = await fetch(`${this.#server.url}${path}`, { method, headers: this.#headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Says it, and gives every event of the answer, each with `at`, the milliseconds since it was said. */
  async say(content, onEvent = () => {}) {
    const began = Date.now();
    const answer = await fetch(`${this.#server.url}${this.#path}/messages?include=reasoning`, {
      method: 'POST',
      headers: this.#headers,
      body: JSON.stringify({ content }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    const events = [];
    let rest = '';
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + piece).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (!data) continue;
        events.push({ ...JSON.parse(data), at: Date.now() - began });
        await onEvent(events.at(-1));
      }
    }
    return events;
  }

  cancel() {
    return this.#json('POST', `${this.#path}/cancel`);
  }

  messages() {
    return this.#json('GET', `${this.#path}/messages`);
  }
}

export class Chat {
  #socket;
  #id;

  static async open(server, provider) {
    const chat = new Chat();
    const headers = { authorization: `Bearer ${server.token()}`, 'content-type': 'application/json' };
    const made = await fetch(`${server.url}/api/chats`, { method: 'POST', headers, body: JSON.stringify({ model: `${provider}/story` }) });
    chat.#id = (await made.json()).id;
    chat.#socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`, { headers });
    await once(chat.#socket, 'message');
    return chat;
  }

  /** Says it, and gives every frame up to the one that ends the answer. */
  async say(content) {
    const frames = [];
    const ended = new Promise((done) => {
      const take = (data) => {
        const frame = JSON.parse(data);
        frames.push(frame);
        if (frame.type !== 'result' && frame.type !== 'error') return;
        this.#socket.off('message', take);
        done();
      };
      this.#socket.on('message', take);
    });
    this.#socket.send(JSON.stringify({ type: 'chat', chatId: this.#id, content }));
    await ended;
    return frames;
  }

  close() {
    this.#socket.terminate();
  }
}
