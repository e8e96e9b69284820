// The half of Slack that `emulate` lacks: events, told the way Slack tells them.

import { createHmac } from 'node:crypto';

/** Of an event, as Slack documents it. */
export function slackSignature(secret, seconds, body) {
  return `v0=${createHmac('sha256', secret).update(`v0:${seconds}:${body}`).digest('hex')}`;
}

export class Events {
  #url;
  #secret;
  #desk;
  #count = 0;

  /** `desk` is the user id of the bot. */
  constructor(url, secret, desk) {
    this.#url = url;
    this.#secret = secret;
    this.#desk = desk;
  }

  /** An event in its envelope, with an id of its own. */
  envelope(event) {
    this.#count += 1;
    return {
      token: 'deprecated',
      team_id: 'T000000001',
      api_app_id: 'A1',
      type: 'event_callback',
      event_id: `Ev${process.pid}${String(this.#count).padStart(4, '0')}`,
      event_time: Math.floor(Date.now() / 1000),
      authorizations: [{ team_id: 'T000000001', user_id: this.#desk, is_bot: true }],
      event,
    };
  }

  /** Tells it once. `attempt` counts from 0, as Slack does; what is wrong on purpose stands in `wrong`. */
  async tell(envelope, { attempt = 0, wrong = {} } = {}) {
    const body = JSON.stringify(envelope);
    const seconds = String(Math.floor(Date.now() / 1000) - (wrong.age ?? 0));
    const headers = {
      'content-type': 'application/json',
      'x-slack-request-timestamp': seconds,
      'x-slack-signature': slackSignature(wrong.secret ?? this.#secret, seconds, wrong.signed ?? body),
    };
    if (wrong.unsigned) delete headers['x-slack-signature'];
    if (attempt > 0) Object.assign(headers, { 'x-slack-retry-num': String(attempt), 'x-slack-retry-reason': 'http_timeout' });
    const answer = await fetch(wrong.url ?? this.#url, { method: 'POST', headers, body });
    return { status: answer.status, body: await answer.text() };
  }
}
