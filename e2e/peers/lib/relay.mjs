// Stands on the way between a peer and the server, as a proxy does. It remembers what has passed, and can lose, hold back or
// replace an answer.

import { once } from 'node:events';
import { createServer, request as ask } from 'node:http';

export class Relay {
  #server = createServer((incoming, outgoing) => void this.#pass(incoming, outgoing).catch(() => outgoing.destroy()));
  #target;
  #plans = [];
  /** What has come, in order: `{ method, path, headers, body, answer, ended }`; `answer` is `{ status, body }` once there is one. */
  seen = [];
  url = '';

  static async start(target) {
    const relay = new Relay();
    relay.#target = new URL(target);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    relay.url = `http://127.0.0.1:${relay.#server.address().port}`;
    return relay;
  }

  get host() {
    return new URL(this.url).host;
  }

  /** The next POST to such a path arrives, and its answer does not. */
  loses(path = /./) {
    this.#plans.push({ path, loses: true });
  }

  /** The next POST to such a path arrives, and nothing is heard of it as long as the sender lives. */
  holds(path = /./) {
    this.#plans.push({ path, holds: true });
  }

  /** The next POST to such a path does not arrive; this is the answer. */
  answers(status, body, headers = {}, path = /./) {
    this.#plans.push({ path, instead: { status, body: JSON.stringify(body), headers } });
  }

  async #pass(incoming, outgoing) {
    const { method, url: path, headers } = incoming;
    const one = { method, path, headers, body: await textOf(incoming), answer: null, ended: false };
    this.seen.push(one);
    const at = method === 'POST' ? this.#plans.findIndex((one) => one.path.test(path)) : -1;
    const [plan = {}] = at < 0 ? [] : this.#plans.splice(at, 1);
    if (plan.instead) {
      one.answer = { status: plan.instead.status, body: plan.instead.body };
      outgoing.writeHead(plan.instead.status, plan.instead.headers).end(plan.instead.body);
    } else {
      await this.#bring(await this.#ask(one), one, plan, outgoing);
    }
    one.ended = !plan.holds;
  }

  async #bring(answer, one, plan, outgoing) {
    if (plan.loses || plan.holds) {
      one.answer = { status: answer.statusCode, body: await textOf(answer) };
      if (plan.loses) outgoing.socket.resetAndDestroy();
      return;
    }
    one.answer = { status: answer.statusCode, body: '' };
    outgoing.writeHead(answer.statusCode, kept(answer.headers));
    try {
      for await (const piece of answer) {
        one.answer.body += piece;
        outgoing.write(piece);
      }
      outgoing.end();
    } catch {
      // What breaks off here breaks off there, and not earlier.
      outgoing.socket?.destroySoon();
    }
  }

  /** Once more as it came, or with other headers, path or body. Gives status and body. */
  async again(one, changes = {}) {
    const answer = await this.#ask({ ...one, ...changes });
    return { status: answer.statusCode, body: await textOf(answer) };
  }

  async #ask({ method, path, headers, body }) {
    const { hostname, port } = this.#target;
    const call = ask({ hostname, port, method, path, headers: { ...kept(headers), 'content-length': Buffer.byteLength(body) } });
    call.end(body);
    const [answer] = await once(call, 'response');
    answer.setEncoding('utf8');
    return answer;
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

async function textOf(stream) {
  stream.setEncoding('utf8');
  let text = '';
  for await (const piece of stream) text += piece;
  return text;
}

/** Without what is about one connection only. */
function kept(headers) {
  const dropped = ['connection', 'keep-alive', 'transfer-encoding', 'content-length'];
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.includes(name)));
}
