// The real program on a free port, with a data directory and a working directory of its own.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const binary = resolve(process.env.COLLOQUY_BIN ?? join(here, '../../target/debug/colloquy'));

const START_MS = 20_000;
/** A server that is asked to stop lets running answers go on for a while. */
const STOP_MS = 35_000;

/** What the agents of the stories find in their working directory. */
export const FILES = {
  'README.md': '# Orchard\n\nA small program that counts apples.\n\n- `src/main.rs` counts\n- `notes.txt` remembers\n',
  'notes.txt': 'alpha\nbeta\ngamma\n',
  'src/main.rs': 'fn main() {\n    println!("12 apples");\n}\n',
};

export class Server {
  #home = mkdtempSync(join(tmpdir(), 'colloquy-e2e-'));
  #child = null;
  #settings;
  #folder;
  #listen = '127.0.0.1:0';
  /** `http://127.0.0.1:PORT` of the running program. */
  url = '';
  /** The sign-in link that the running program has printed. */
  link = '';

  /** `settings`: further environment variables; `files`: name to content, for the working directory named `folder`. */
  static async start(settings = {}, files = FILES, folder = 'work') {
    const server = new Server();
    server.#settings = settings;
    server.#folder = folder;
    for (const [name, content] of Object.entries(files)) {
      const path = join(server.workdir, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
    await server.#spawn();
    return server;
  }

  get workdir() {
    return join(this.#home, this.#folder);
  }

  get #env() {
    return {
      PATH: process.env.PATH,
      HOME: this.#home,
      COLLOQUY_LISTEN: this.#listen,
      COLLOQUY_DATA_DIR: join(this.#home, 'data'),
      COLLOQUY_WORKDIR: this.workdir,
      COLLOQUY_LOG: process.env.COLLOQUY_LOG ?? 'warn',
      ...this.#settings,
    };
  }

  /** The owner's token, as the program prints it. */
  token() {
    return execFileSync(binary, ['token'], { env: this.#env, encoding: 'utf8' }).trim();
  }

  async #spawn() {
    mkdirSync(this.workdir, { recursive: true });
    const child = spawn(binary, ['serve'], {
      cwd: this.workdir,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.url = '';
    this.link = '';
    const gone = once(child, 'exit').then(([code, signal]) => {
      if (this.#child === child) this.#child = null;
      return `the server ended: ${code ?? signal}`;
    });
    const lines = createInterface({ input: child.stdout });
    const ready = new Promise((done) => {
      lines.on('line', (line) => {
        this.url ||= /listening on (http:\/\/\S+)/.exec(line)?.[1] ?? '';
        this.link ||= /(http:\/\/\S+\/#code=\S+)/.exec(line)?.[1] ?? '';
        if (this.url && this.link) done('');
      });
    });
    const problem = await Promise.race([ready, gone, after(START_MS, 'the server did not start in time')]);
    if (problem) {
      await this.kill();
      throw new Error(problem);
    }
    // From now on the address stays the same.
    this.#listen = new URL(this.url).host;
  }

  /** Like a power cut. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** As a service manager asks it to. */
  async end() {
    await this.#end('SIGTERM');
  }

  /** On the same port, with the same data. */
  async startAgain() {
    await this.#spawn();
  }

  /** Ends the program and removes everything it has written. */
  async stop() {
    await this.#end('SIGTERM');
    rmSync(this.#home, { recursive: true, force: true });
  }

  async #end(signal) {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    if ((await Promise.race([ended, after(STOP_MS, 'late')])) === 'late') {
      child.kill('SIGKILL');
      await ended;
      throw new Error(`the server did not end within ${STOP_MS} ms of ${signal}`);
    }
  }
}

function after(ms, value) {
  return new Promise((done) => setTimeout(() => done(value), ms).unref());
}
