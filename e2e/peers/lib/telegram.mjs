// `telegram-test-api`, in this process. It knows no secret header, no long polls and no typing; an update counts as told as
// soon as somebody was handed it, and one that our webhook does not take is told again under its old number.

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const TelegramServer = require('telegram-test-api');
const axios = require('axios');

export class TelegramTestApi {
  #server;
  #token;

  static async start(token) {
    const api = new TelegramTestApi();
    // As a text, since it takes the number 0 for none.
    api.#server = new TelegramServer({ port: '0', host: '127.0.0.1' });
    await api.#server.start();
    api.#token = token;
    api.host = `127.0.0.1:${api.#server.server.address().port}`;
    api.url = `http://${api.host}`;
    api.#server.config.apiURL = api.url;
    return api;
  }

  /** What the bot has set; `undefined` without one. */
  get webhook() {
    return this.#server.webhooks[this.#token];
  }

  /** What Telegram sends with every update, and this one does not. */
  sendsTheSecret(sends) {
    const headers = axios.defaults.headers.post;
    if (sends) headers['x-telegram-bot-api-secret-token'] = this.webhook.secret_token;
    else delete headers['x-telegram-bot-api-secret-token'];
  }

  #client(id) {
    return this.#server.getClient(this.#token, { userId: id, chatId: id, firstName: `Person ${id}`, userName: `person${id}` });
  }

  /** A person writes. Rejects if a webhook is set and does not take it; the next update then has the same number. */
  async say(id, text) {
    await this.#server.addUserMessage(this.#client(id).makeMessage(text));
  }

  /** A person presses a button. */
  async press(id, data) {
    await this.#server.addUserCallback(this.#client(id).makeCallbackQuery(data));
  }

  /** What the bot has said to that person, in order. */
  sentTo(id) {
    const all = this.#server.storage.botMessages.filter((one) => one.botToken === this.#token);
    return all.filter((one) => String(one.message.chat_id) === String(id)).map((one) => ({ id: String(one.messageId), text: one.message.text }));
  }

  async stop() {
    this.sendsTheSecret(false);
    await this.#server.stop();
  }
}
