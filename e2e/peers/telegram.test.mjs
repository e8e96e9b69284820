// Telegram as `telegram-test-api` plays it, by webhook and by polling, and where that one is lenient our own strict double.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { Server } from '../lib/server.mjs';
import { Telegram } from '../lib/telegram.mjs';
import { faultsOfIntake, faultsOfSending, faultsOfStatuses } from './lib/checks.mjs';
import { Hub } from './lib/hub.mjs';
import { Relay } from './lib/relay.mjs';
import { TelegramTestApi } from './lib/telegram.mjs';
import { until } from './lib/until.mjs';

const PUSHED = '7000000001:AAabcdefghijklmnopqrstuvwxyz0123456';
const POLLED = '7000000002:AAabcdefghijklmnopqrstuvwxyz0123456';
const STRICT = '7000000003:AAabcdefghijklmnopqrstuvwxyz0123456';

let pushing, polled, strict, road, server, front, hub, watch;
before(async () => {
  [pushing, polled, strict] = await Promise.all([TelegramTestApi.start(PUSHED), TelegramTestApi.start(POLLED), Telegram.start(STRICT)]);
  road = await Relay.start(strict.url);
  server = await Server.start({ COLLOQUY_EGRESS_ALLOW: [pushing.host, polled.host, road.host].join(',') });
  front = await Relay.start(server.url);
  hub = await Hub.begun(server);
  watch = await hub.watch();
  await hub.agent();
});
after(async () => {
  watch?.stop();
  await front?.stop();
  await server?.stop();
  await road?.stop();
  await Promise.all([pushing?.stop(), polled?.stop(), strict?.stop()]);
});
afterEach(() => assert.deepEqual(faultsOfStatuses(watch.events), []));

const connect = (name, token, url, more = {}) =>
  hub.channel({ name, platform: 'TELEGRAM', credentials_to_send_message: { token }, api_to_send_message: url, ...more });

async function startAgain() {
  await server.startAgain();
  watch = await hub.watch(watch.events);
}

async function isRight(chat, said, theirs) {
  const kept = await hub.atRest(chat);
  assert.deepEqual(faultsOfIntake(said, kept), []);
  assert.deepEqual(faultsOfSending(kept, theirs), []);
}

test('by webhook: what is not signed is refused, what is told twice is one', async () => {
  const channel = await connect('Pushed', PUSHED, pushing.url, { webhook_base_url: front.url });
  await until('the webhook is set', () => pushing.webhook);
  assert.equal(pushing.webhook.url, channel.inbound_url);
  await assert.rejects(pushing.say(11, 'without the secret'), /403/);
  assert.equal(front.seen.at(-1).answer.status, 403);
  assert.deepEqual(await hub.chats(channel), []);

  pushing.sendsTheSecret(true);
  await pushing.say(11, 'count to 3');
  const chat = await hub.chatWith(channel, '11');
  await hub.settled(chat, '1 2 3', 'SENT');

  // Our answer is lost, so that it is told again, under the same number.
  front.loses();
  await assert.rejects(pushing.say(11, 'count to 4'));
  await pushing.say(11, 'count to 4');
  await hub.settled(chat, '1 2 3 4', 'SENT');
  assert.equal(JSON.parse(front.seen.at(-1).body).update_id, JSON.parse(front.seen.at(-2).body).update_id);
  assert.equal(JSON.parse(front.seen.at(-1).answer.body).duplicate, true);

  // Told while nobody is there, and again until somebody is.
  await server.kill();
  await assert.rejects(pushing.say(11, 'count to 5'));
  await startAgain();
  await pushing.say(11, 'count to 5');
  await hub.settled(chat, '1 2 3 4 5', 'SENT');

  await pushing.press(11, 'count to 2');
  await hub.settled(chat, '1 2', 'SENT');
  await isRight(chat, ['count to 3', 'count to 4', 'count to 5', 'count to 2'], pushing.sentTo(11));
});

test('by polling: it goes on where it was after an orderly end and after a crash', async () => {
  const channel = await connect('Polled', POLLED, polled.url);
  await polled.say(21, 'count to 3');
  const chat = await hub.chatWith(channel, '21');
  await hub.settled(chat, '1 2 3', 'SENT');
  assert.equal(polled.webhook, undefined);

  await server.end();
  await polled.say(21, 'count to 4');
  await startAgain();
  await hub.settled(chat, '1 2 3 4', 'SENT');

  // In the middle of an answer, which begins anew with what was said meanwhile.
  const newest = async () => (await hub.messages(chat)).at(-1);
  await polled.say(21, 'count to 6 slowly');
  await until('it is taken in', async () => (await newest()).content === 'count to 6 slowly');
  await server.kill();
  await polled.say(21, 'and quickly, please');
  await startAgain();
  await hub.settled(chat, '1 2 3 4 5 6', 'SENT');

  await hub.take(chat);
  await polled.say(21, 'is this a person?');
  await hub.say(chat, 'This is **Ana**.');
  await hub.settled(chat, 'This is **Ana**.', 'SENT');
  const theirs = polled.sentTo(21).map((one) => ({ ...one, text: one.text.replaceAll(/<\/?b>/g, '**') }));
  const said = ['count to 3', 'count to 4', 'count to 6 slowly', 'and quickly, please', 'is this a person?'];
  await until('all is heard', async () => (await hub.messages(chat)).some((one) => one.content === said.at(-1)));
  await isRight(chat, said, theirs);
});

test('by polling: no update is lost or doubled, whatever becomes of the answer that brought it', async () => {
  const asked = () => road.seen.filter((one) => one.path.endsWith('/getUpdates'));
  const channel = await connect('Strict', STRICT, road.url);
  const said = [];
  const say = async (text) => {
    said.push(text);
    await strict.say(text, { id: 31, first_name: 'Zoe' });
  };
  await until('it is asked', () => asked().length > 0);
  // A person takes it before the agent has finished.
  await say('count to 90 slowly');
  const chat = await hub.chatWith(channel, '31');
  await hub.take(chat);

  // The answers of polls get lost on the way, and the process dies while one is on its way.
  await until('it is asked again', () => asked().some((one) => !one.ended));
  road.loses(/getUpdates$/);
  await say('second');
  await say('third');
  for (const round of [1, 2]) {
    await say(`before crash ${round}`);
    await server.kill();
    await say(`after crash ${round}`);
    await startAgain();
  }
  await until('all is heard', async () => (await hub.messages(chat)).some((one) => one.content === 'after crash 2'));
  await isRight(chat, said, []);
  assert.ok(asked().filter((one) => one.answer?.body.includes('"third"')).length > 1, 'it was told twice');
  assert.deepEqual(strict.violations, []);
});
