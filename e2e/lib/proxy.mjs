// A network that can be broken: passes bytes to the server until it is cut.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Proxy {
  #server;
  #pairs = new Set();
  #up = true;
  #target = null;

  static async start() {
    const proxy = new Proxy();
    proxy.#server = createServer((near) => proxy.#pass(near));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  to(url) {
    this.#target = new URL(url);
  }

  #pass(near) {
    near.on('error', () => {});
    if (!this.#up || !this.#target) return near.resetAndDestroy();
    const far = connect(Number(this.#target.port), this.#target.hostname);
    far.on('error', () => near.destroy());
    const pair = { near, far };
    this.#pairs.add(pair);
    near.on('close', () => {
      far.destroy();
      this.#pairs.delete(pair);
    });
    far.on('close', () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  }

  /** Breaks every connection, and refuses new ones until `mend`. */
  cut() {
    this.#up = false;
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  mend() {
    this.#up = true;
  }

  async stop() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
