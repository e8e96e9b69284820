// A model server that says what a story wrote down for it: Chat Completions, each answer in one piece.

import { once } from 'node:events';
import { createServer } from 'node:http';

export class Upstream {
  #server = createServer((incoming, outgoing) => void this.#answer(incoming, outgoing));
  #steps = [];
  /** The bodies of all requests. */
  requests = [];

  static async start() {
    const upstream = new Upstream();
    upstream.#server.listen(0, '127.0.0.1');
    await once(upstream.#server, 'listening');
    return upstream;
  }

  /** For a server that is to ask this one. */
  get settings() {
    const url = `http://127.0.0.1:${this.#server.address().port}`;
    return { OPENAI_API_KEY: 'none', OPENAI_BASE_URL: url, COLLOQUY_MODEL: 'openai/story' };
  }

  /** The next answer: words, and calls as `{name, input}`; or `{status}` of a refusal. */
  will(step) {
    this.#steps.push(step);
  }

  async #answer(incoming, outgoing) {
    let body = '';
    for await (const piece of incoming) body += piece;
    const json = (status, value) => outgoing.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    if (incoming.method === 'GET') return json(200, { data: [{ id: 'story' }] });
    this.requests.push(JSON.parse(body));
    const { status, text = '', calls = [] } = this.#steps.shift() ?? { text: 'There is nothing left to say.' };
    if (status) return json(status, { error: { message: 'no', type: 'invalid_request_error' } });
    const tool_calls = calls.map(({ name, input }, i) => ({
      id: `call_${this.requests.length}_${i}`,
      type: 'function',
      function: { name, arguments: JSON.stringify(input) },
    }));
    const message = { role: 'assistant', content: text, ...(calls.length > 0 && { tool_calls }) };
    const choice = { index: 0, message, finish_reason: calls.length > 0 ? 'tool_calls' : 'stop' };
    return json(200, { id: 'x', object: 'chat.completion', model: 'story', choices: [choice], usage: { prompt_tokens: 1, completion_tokens: 1 } });
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
