// Twilio and Slack as `emulate` plays them. Its Twilio signs what it sends and keeps what it is sent; it sends an empty
// parameter with every message, a body with every status, and tells the first status before it answers the call that sends.

import { Peer } from './peer.mjs';

const TWILIO_ACCOUNT = 'AC00000000000000000000000000000000';
const TWILIO_TOKEN = 'twilio_test_auth_token';

function start(service, seed) {
  const args = (file) => ['--service', service, '--port', '4000', '--seed', file];
  return Peer.start('emulate', 'dist/index.js', { [service]: seed }, args);
}

export class Twilio {
  #peer;
  #number;

  /** An account that owns this number, `whatsapp:+…` or `+…`. */
  static async start(number) {
    const twilio = new Twilio();
    twilio.#number = number;
    twilio.#peer = await start('twilio', { phone_numbers: [{ phone_number: number }] });
    return twilio;
  }

  get host() {
    return this.#peer.host;
  }

  get credentials() {
    return { user: TWILIO_ACCOUNT, token: TWILIO_TOKEN, from_number: this.#number.replace('whatsapp:', '') };
  }

  /** Where messages are posted; `base` stands for the peer's own address. */
  messages(base = this.#peer.url) {
    return `${base}/2010-04-01/Accounts/${TWILIO_ACCOUNT}/Messages.json`;
  }

  async #call(url, fields) {
    const authorization = `Basic ${Buffer.from(`${TWILIO_ACCOUNT}:${TWILIO_TOKEN}`).toString('base64')}`;
    const answer = await fetch(url, { method: fields ? 'POST' : 'GET', headers: { authorization }, body: fields && new URLSearchParams(fields) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`emulate: ${answer.status} ${JSON.stringify(body)}`);
    return body;
  }

  /** As an operator of the account enters it. */
  async calls(url) {
    const numbers = `${this.#peer.url}/2010-04-01/Accounts/${TWILIO_ACCOUNT}/IncomingPhoneNumbers`;
    const { incoming_phone_numbers: all } = await this.#call(`${numbers}.json`);
    const own = all.find((one) => one.phone_number === this.#number);
    await this.#call(`${numbers}/${own.sid}.json`, { SmsUrl: url });
  }

  /** A person writes. Resolves when we have been called and have answered. */
  async say(from, text) {
    return this.#call(`${this.#peer.url}/_twilio/simulate/inbound-message`, { To: this.#number, From: from, Body: text });
  }

  /** What becomes of a message that we sent. Resolves when we have been told. */
  async becomes(sid, status) {
    return this.#call(`${this.#peer.url}/_twilio/simulate/message-status`, { MessageSid: sid, Status: status });
  }

  /** What we have sent, the oldest first. */
  async sent() {
    const { messages } = await this.#call(`${this.messages()}?PageSize=1000`);
    return messages.filter((one) => one.direction === 'outbound-api').reverse();
  }

  stop() {
    return this.#peer?.stop();
  }
}

export class Slack {
  #peer;
  static token = 'xoxb-of-the-desk';
  static customer = 'xoxp-of-a-customer';

  static async start() {
    const slack = new Slack();
    const tokens = [
      { token: Slack.token, type: 'bot', user: 'desk' },
      { token: Slack.customer, type: 'user', user: 'carla' },
    ];
    const users = [{ name: 'desk' }, { name: 'carla', real_name: 'Carla' }];
    slack.#peer = await start('slack', { users, channels: [{ name: 'help' }], tokens });
    return slack;
  }

  get host() {
    return this.#peer.host;
  }

  /** The base of the Web API. */
  get api() {
    return `${this.#peer.url}/api`;
  }

  async call(method, body, token = Slack.token) {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await (await fetch(`${this.api}/${method}`, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    if (!answer.ok) throw new Error(`emulate: ${method}: ${answer.error}`);
    return answer;
  }

  stop() {
    return this.#peer?.stop();
  }
}
