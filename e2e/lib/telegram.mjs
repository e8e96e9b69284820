// A strict double of the Telegram Bot API: it knows one bot, takes only what the real one takes, and can refuse.

import { once } from 'node:events';
import { createServer } from 'node:http';

/** What each method takes: field to check. The ones with a star are needed. */
const isText = (value) => typeof value === 'string';
const isId = (value) => Number.isSafeInteger(value);
const isFlag = (value) => typeof value === 'boolean';
const isMessage = (value) => isText(value) && value.length >= 1 && value.length <= 4096;
const isSecret = (value) => isText(value) && /^[\w-]{1,256}$/.test(value);
const isUpdates = (value) => Array.isArray(value) && value.every(isText);
const METHODS = {
  getMe: {},
  setWebhook: { '*url': isText, secret_token: isSecret, allowed_updates: isUpdates, max_connections: isId, drop_pending_updates: isFlag },
  deleteWebhook: { drop_pending_updates: isFlag },
  getUpdates: { offset: isId, limit: isId, timeout: isId, allowed_updates: isUpdates },
  sendMessage: {
    '*chat_id': isId,
    '*text': isMessage,
    parse_mode: (value) => value === 'HTML',
    reply_parameters: (value) => isId(value?.message_id),
    link_preview_options: (value) => typeof value === 'object',
  },
  getFile: { '*file_id': isText },
  sendChatAction: { '*chat_id': isId, '*action': (value) => value === 'typing' },
};

/** Telegram repeats what was not taken. */
const REPEAT_AFTER_MS = 300;

/** Why the body is refused; null if it is not. `null` counts as absent, as it does there. */
function faultOf(fields, body) {
  for (const [name, value] of Object.entries(body)) {
    const check = fields[name] ?? fields[`*${name}`];
    if (!check) return `unknown field ${name}`;
    if (value !== null && !check(value)) return `field ${name} is wrong: ${JSON.stringify(value)}`;
  }
  const missing = Object.keys(fields).find((name) => name.startsWith('*') && body[name.slice(1)] == null);
  return missing ? `${missing.slice(1)} is empty` : null;
}

/** Tags in order, and none that Telegram does not know. */
function isWellFormed(html) {
  const open = [];
  for (const [, closing, name] of html.matchAll(/<(\/?)([a-z]+)[^>]*>/g)) {
    if (!['b', 'i', 'u', 's', 'code', 'pre', 'a', 'blockquote'].includes(name)) return false;
    if (!closing) open.push(name);
    else if (open.pop() !== name) return false;
  }
  return open.length === 0 && !/&(?!(amp|lt|gt|quot);)/.test(html);
}

export class Telegram {
  /** The texts that contacts got, in order, as Telegram took them. */
  sent = [];
  /** What the real one would not have liked. */
  violations = [];
  webhook = null;
  /** What contacts have sent, by the ids of files. */
  #files = new Map();
  #server = createServer((request, response) => void this.#answer(request, response));
  #token;
  #updates = [];
  #polls = new Set();
  #refusals = [];
  #updateId = 100;
  #messageId = 1000;

  constructor(token) {
    this.#token = token;
  }

  static async start(token) {
    const double = new Telegram(token);
    double.#server.listen(0, '127.0.0.1');
    await once(double.#server, 'listening');
    double.host = `127.0.0.1:${double.#server.address().port}`;
    double.url = `http://${double.host}`;
    return double;
  }

  /** The next message of ours is refused. `parameters` such as `{ retry_after: 1 }`. */
  refuse(status, description, parameters) {
    this.#refusals.push({ status, description, parameters });
  }

  /** A person writes to the bot. Resolves when the update has been taken, if a webhook is set. */
  say(text, from) {
    return this.#tell({ text }, from);
  }

  /** A person sends a picture, with words below it. */
  show(bytes, caption) {
    const id = `photo-${this.#files.size + 1}`;
    this.#files.set(id, bytes);
    const size = { file_id: id, file_unique_id: id, width: 1, height: 1, file_size: bytes.length };
    return this.#tell({ photo: [{ ...size, file_id: 'too-small' }, size], caption });
  }

  async #tell(content, from = { id: 4242, first_name: 'Zoe', username: 'zoe' }) {
    const id = (this.#messageId += 1);
    const update = {
      update_id: (this.#updateId += 1),
      message: {
        message_id: id,
        from: { is_bot: false, ...from },
        chat: { id: from.id, type: 'private', first_name: from.first_name },
        date: Math.floor(Date.now() / 1000),
        ...content,
      },
    };
    if (this.webhook) return this.#push(update);
    this.#updates.push(update);
    for (const wake of this.#polls) wake();
  }

  async #push(update, secret = this.webhook.secret_token) {
    for (let attempt = 0; attempt < 20; attempt += 1) {
      const answer = await this.knock(update, secret);
      if (answer.ok) return;
      await new Promise((done) => setTimeout(done, REPEAT_AFTER_MS));
    }
    throw new Error('the webhook does not take the update');
  }

  /** One request to the webhook, with any secret. */
  knock(update, secret) {
    const headers = { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': secret };
    return fetch(this.webhook.url, { method: 'POST', headers, body: JSON.stringify(update) });
  }

  async #answer(request, response) {
    const send = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const refuse = (status, description, parameters) => send(status, { ok: false, error_code: status, description, parameters });
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [, owner, file] = /^\/file\/bot([^/]+)\/photos\/(.+)$/.exec(request.url) ?? [];
    if (owner === this.#token && this.#files.has(file)) return response.end(this.#files.get(file));
    const [, token, method] = /^\/bot([^/]+)\/(\w+)$/.exec(request.url) ?? [];
    if (token !== this.#token) return refuse(401, 'Unauthorized');
    let body = {};
    try {
      body = JSON.parse(Buffer.concat(chunks).toString() || '{}');
    } catch {
      this.violations.push(`${method}: no JSON`);
    }
    const fault = request.method !== 'POST' ? 'not a POST' : METHODS[method] ? faultOf(METHODS[method], body) : 'no such method';
    if (fault) {
      this.violations.push(`${method}: ${fault}`);
      return refuse(METHODS[method] ? 400 : 404, `Bad Request: ${fault}`);
    }
    return this[`_${method}`](body, (result) => send(200, { ok: true, result }), refuse, request);
  }

  _getMe(_body, done) {
    done({ id: Number(this.#token.split(':')[0]), is_bot: true, first_name: 'Bot', username: 'bot' });
  }

  _setWebhook(body, done) {
    this.webhook = body;
    done(true);
  }

  _deleteWebhook(_body, done) {
    this.webhook = null;
    done(true);
  }

  async _getUpdates({ offset, timeout }, done, refuse, request) {
    if (this.webhook) return refuse(409, "Conflict: can't use getUpdates method while webhook is active");
    this.#updates = this.#updates.filter((update) => update.update_id >= (offset ?? 0));
    if (this.#updates.length === 0) {
      await new Promise((wake) => {
        const timer = setTimeout(wake, (timeout ?? 0) * 1000);
        const end = () => {
          clearTimeout(timer);
          this.#polls.delete(end);
          wake();
        };
        this.#polls.add(end);
        request.socket.on('close', end);
      });
    }
    return done(this.#updates);
  }

  _getFile({ file_id: id }, done, refuse) {
    if (!this.#files.has(id)) return refuse(400, 'Bad Request: wrong file_id or the file is temporarily unavailable');
    return done({ file_id: id, file_unique_id: id, file_size: this.#files.get(id).length, file_path: `photos/${id}` });
  }

  _sendChatAction(_body, done) {
    done(true);
  }

  _sendMessage(body, done, refuse) {
    const refusal = this.#refusals.shift();
    if (refusal) return refuse(refusal.status, refusal.description, refusal.parameters);
    if (body.parse_mode === 'HTML' && !isWellFormed(body.text)) return refuse(400, "Bad Request: can't parse entities");
    this.sent.push(body.text);
    const chat = { id: body.chat_id, type: 'private' };
    return done({ message_id: (this.#messageId += 1), date: Math.floor(Date.now() / 1000), chat, text: body.text });
  }

  async stop() {
    for (const wake of this.#polls) wake();
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}
