// `aimock`: a model server that answers as its fixtures say, in the words of whichever provider is asked for.

import { Peer } from './peer.mjs';

export class Aimock {
  #peer;

  static async start(fixtures) {
    const aimock = new Aimock();
    const args = (file) => ['-f', file, '--validate-on-load', '--strict', '--log-level', 'silent'];
    aimock.#peer = await Peer.start('@copilotkit/aimock', 'dist/cli.js', { fixtures }, args);
    return aimock;
  }

  get url() {
    return this.#peer.url;
  }

  async #control(method, path, body) {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${this.url}/__aimock/${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`aimock: ${path}: ${answer.status} ${await answer.text()}`);
  }

  /** The next request is refused so. */
  refuses(status, type) {
    return this.#control('POST', 'error', { status, body: { message: `${type} on purpose`, type } });
  }

  /** Rates from 0 to 1 of what goes wrong from now on; without any, nothing does. */
  chaos(rates) {
    return rates ? this.#control('POST', 'chaos', rates) : this.#control('DELETE', 'chaos');
  }

  stop() {
    return this.#peer?.stop();
  }
}
