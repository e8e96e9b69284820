// A front server that shows the program under a path, as a company's proxy would.

import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';

export class Prefix {
  #server = createServer((incoming, outgoing) => this.#pass(incoming, outgoing));
  #sockets = new Set();
  #target = null;

  static async start(path) {
    const front = new Prefix();
    front.path = path;
    front.#server.on('connection', (socket) => {
      front.#sockets.add(socket);
      socket.on('close', () => front.#sockets.delete(socket));
    });
    front.#server.on('upgrade', (incoming, socket, head) => front.#upgrade(incoming, socket, head));
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    front.url = `http://127.0.0.1:${front.#server.address().port}${path}`;
    return front;
  }

  to(url) {
    this.#target = new URL(url);
  }

  #inner(path) {
    return path.startsWith(`${this.path}/`) ? path.slice(this.path.length) : null;
  }

  #pass(incoming, outgoing) {
    const path = this.#inner(incoming.url);
    if (path === null) {
      outgoing.writeHead(404).end();
      return;
    }
    const { hostname: host, port } = this.#target;
    const onward = request({ host, port, path, method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  }

  #upgrade(incoming, near, head) {
    const far = connect(Number(this.#target.port), this.#target.hostname, () => {
      const lines = [`${incoming.method} ${this.#inner(incoming.url)} HTTP/1.1`];
      for (let i = 0; i < incoming.rawHeaders.length; i += 2) lines.push(`${incoming.rawHeaders[i]}: ${incoming.rawHeaders[i + 1]}`);
      far.write(`${lines.join('\r\n')}\r\n\r\n`);
      far.write(head);
      near.pipe(far);
      far.pipe(near);
    });
    far.on('error', () => near.destroy());
    near.on('error', () => far.destroy());
    near.on('close', () => far.destroy());
  }

  async stop() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }
}
