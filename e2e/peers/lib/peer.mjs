// A program of somebody else, as a process of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const packages = join(here, '../node_modules');

const START_MS = 20_000;
const STOP_MS = 3_000;

export class Peer {
  #child;
  /** `http://127.0.0.1:PORT` */
  url = '';

  /** Runs the file `program` of the package `name`; `argsOf` is told the path of a file with this content, which is read at the start. */
  static async start(name, program, content, argsOf) {
    const folder = mkdtempSync(join(tmpdir(), 'colloquy-peers-'));
    try {
      const file = join(folder, 'content.json');
      writeFileSync(file, JSON.stringify(content));
      return await Peer.#run(name, program, argsOf(file));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  static async #run(name, program, args) {
    const peer = new Peer();
    // The peer ends when its standard input does, and so does not outlive the tests, however they end.
    const child = spawn(process.execPath, ['--import', join(here, 'tame.mjs'), join(packages, name, program), ...args], {
      env: { PATH: process.env.PATH },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    peer.#child = child;
    let said = '';
    child.stderr.on('data', (piece) => (said = (said + piece).slice(-2_000)));
    const ready = new Promise((done) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        peer.url ||= /^tame: (http:\S+)/.exec(line)?.[1] ?? '';
        if (peer.url) done(true);
      });
    });
    const gone = once(child, 'exit').then(() => false);
    const late = new Promise((done) => setTimeout(() => done(false), START_MS).unref());
    if (await Promise.race([ready, gone, late])) return peer;
    await peer.stop();
    throw new Error(`${name} does not start: ${said}`);
  }

  get host() {
    return new URL(this.url).host;
  }

  async stop() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(timer);
  }
}
