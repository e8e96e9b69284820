// Loaded into every peer before its own code: it serves on this machine only, on a free port that it tells, and it ends by
// itself, with whoever has started it and in any case after a while.

import net from 'node:net';

const LONGEST_LIFE_MS = 120_000;

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const callback = args.find((arg) => typeof arg === 'function');
  listen.call(this, { port: 0, host: '127.0.0.1' }, callback);
  this.once('listening', () => process.stdout.write(`\ntame: http://127.0.0.1:${this.address().port}\n`));
  return this;
};

process.stdin.on('close', () => process.exit(0));
process.stdin.resume();
setTimeout(() => process.exit(1), LONGEST_LIFE_MS).unref();
