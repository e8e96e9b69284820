// Slack: what is sent goes to `emulate`; what people write there is told to the server as Slack's Events API does it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Server } from '../lib/server.mjs';
import { faultsOfIntake, faultsOfSending, faultsOfStatuses } from './lib/checks.mjs';
import { Slack } from './lib/emulate.mjs';
import { Hub } from './lib/hub.mjs';
import { Relay } from './lib/relay.mjs';
import { Events } from './lib/slack.mjs';
import { until } from './lib/until.mjs';

const SECRET = '8f742231b10e8888abcd99yyyzzz85a5';

let slack, road, server, hub, channel, events, watch, desk, carla;
before(async () => {
  slack = await Slack.start();
  road = await Relay.start(`http://${slack.host}`);
  server = await Server.start({ COLLOQUY_EGRESS_ALLOW: road.host });
  hub = await Hub.begun(server);
  watch = await hub.watch();
  await hub.agent();
  channel = await hub.channel({
    name: 'Desk',
    platform: 'SLACK',
    credentials_to_send_message: { token: Slack.token, signing_secret: SECRET },
    api_to_send_message: `${road.url}/api`,
  });
  desk = (await slack.call('auth.test', {})).user_id;
  carla = (await slack.call('auth.test', {}, Slack.customer)).user_id;
  events = new Events(`${server.url}/webhooks/inbound/slack/${channel.id}`, SECRET, desk);
});
after(async () => {
  watch?.stop();
  await server?.stop();
  await road?.stop();
  await slack?.stop();
});

/** Carla writes, and the event of it, which nobody has been told yet. */
async function writes(place, text, more = {}) {
  const { message } = await slack.call('chat.postMessage', { channel: place, text, ...more }, Slack.customer);
  const channel_type = place.startsWith('D') ? 'im' : 'channel';
  return { ...message, channel: place, channel_type };
}

/** What the desk has said there, in order, with Slack's escapes taken back. */
async function saidBack(place, thread) {
  const asked = thread ? ['conversations.replies', { channel: place, ts: thread }] : ['conversations.history', { channel: place, limit: 1000 }];
  const { messages } = await slack.call(...asked);
  const plain = (text) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
  const ours = messages.filter((one) => one.user === desk).map((one) => ({ id: one.ts, text: plain(one.text) }));
  return thread ? ours : ours.reverse();
}

async function isRight(chat, said, place, thread) {
  const kept = await hub.atRest(chat);
  assert.deepEqual(faultsOfIntake(said, kept), []);
  assert.deepEqual(faultsOfSending(kept, await saidBack(place, thread)), []);
  assert.deepEqual(faultsOfStatuses(watch.events), []);
}

test('the address is confirmed to Slack, and to nobody else', async () => {
  const question = { token: 'deprecated', challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P', type: 'url_verification' };
  const answer = await events.tell(question);
  assert.equal(answer.status, 200);
  assert.ok(answer.body.includes(question.challenge));
  for (const wrong of [{ secret: 'x'.repeat(32) }, { unsigned: true }, { age: 301 }, { signed: '{}' }]) {
    const refused = await events.tell(question, { wrong });
    assert.equal(refused.status, 403, JSON.stringify(wrong));
    assert.ok(!refused.body.includes(question.challenge));
  }
});

test('a direct message that Slack tells three times is answered once', async () => {
  const { channel: im } = await slack.call('conversations.open', { users: carla });
  const event = events.envelope(await writes(im.id, 'count to 3'));
  const told = [await events.tell(event)];
  told.push(...(await Promise.all([1, 2, 3].map((attempt) => events.tell(event, { attempt })))));
  assert.deepEqual(told.map((one) => one.status), [200, 200, 200, 200]);
  const chat = await hub.chatWith(channel, im.id);
  await hub.settled(chat, '1 2 3', 'SENT');

  // What the desk says itself is told as well, in both spellings, and is no message of a contact.
  const [own] = await saidBack(im.id);
  const echo = { type: 'message', user: desk, text: own.text, ts: own.id, channel: im.id, channel_type: 'im' };
  assert.equal((await events.tell(events.envelope(echo))).status, 200);
  assert.equal((await events.tell(events.envelope({ ...echo, ts: `${own.id}9`, user: carla, bot_id: 'B1' }))).status, 200);
  assert.equal((await events.tell(events.envelope({ ...echo, user: carla, subtype: 'message_changed' }))).status, 200);

  await hub.say(chat, 'Tell <!channel> & <@U1> “1 < 2”.');
  await hub.settled(chat, 'Tell <!channel> & <@U1> “1 < 2”.', 'SENT');
  const raw = (await slack.call('conversations.history', { channel: im.id })).messages[0].text;
  assert.equal(raw, 'Tell &lt;!channel&gt; &amp; &lt;@U1&gt; “1 &lt; 2”.', 'nothing of ours is taken for a reference');
  await isRight(chat, ['count to 3'], im.id);
});

test('a mention that also comes as a message is one; a thread is a chat of its own', async () => {
  const { channels } = await slack.call('conversations.list', {});
  const help = channels.find((one) => one.name === 'help').id;
  const message = await writes(help, `<@${desk}> count to 2`);
  const mention = { ...message, type: 'app_mention' };
  for (const event of [mention, message]) assert.equal((await events.tell(events.envelope(event))).status, 200);
  const chat = await hub.chatWith(channel, help);
  await until('it is answered', async () => (await saidBack(help)).length > 0);
  await isRight(chat, [`@${desk} count to 2`], help);

  const reply = await writes(help, 'count to 4', { thread_ts: message.ts });
  assert.equal((await events.tell(events.envelope({ ...reply, thread_ts: message.ts }))).status, 200);
  const thread = await hub.chatWith(channel, `${help}:${message.ts}`);
  await hub.settled(thread, '1 2 3 4', 'SENT');
  await isRight(thread, ['count to 4'], help, message.ts);
  assert.equal((await saidBack(help)).length, 1, 'nothing of it outside the thread');
});

test('forged events are refused and leave nothing', async () => {
  const other = await hub.channel({ name: 'Other', platform: 'SLACK', credentials_to_send_message: { token: 'xoxb-2', signing_secret: 'of another app' } });
  const { channel: im } = await slack.call('conversations.open', { users: carla });
  const event = events.envelope({ ...(await writes(im.id, 'forged')), ts: '1.000001' });
  const before = (await hub.chats(channel)).length;
  const wrongs = [
    { secret: 'x'.repeat(32) },
    { unsigned: true },
    { age: 301 },
    { age: -301 },
    { signed: JSON.stringify(event).replace('forged', 'forgeD') },
    { url: `${server.url}/webhooks/inbound/slack/${other.id}` },
  ];
  for (const wrong of wrongs) assert.equal((await events.tell(event, { wrong })).status, 403, JSON.stringify(wrong));
  assert.deepEqual(await hub.chats(other), []);
  assert.equal((await hub.chats(channel)).length, before);
  const chat = await hub.chatWith(channel, im.id);
  assert.ok(!(await hub.messages(chat)).some((one) => one.content === 'forged'));
});

test('what Slack refuses waits or fails as it says; an operator takes over in mid-answer', async () => {
  const { channel: room } = await slack.call('conversations.create', { name: 'room' }, Slack.customer);
  await slack.call('conversations.invite', { channel: room.id, users: desk }, Slack.customer);
  const said = ['count to 90 slowly'];
  await events.tell(events.envelope(await writes(room.id, said[0])));
  const chat = await hub.chatWith(channel, room.id);
  await hub.take(chat);
  road.answers(429, { ok: false, error: 'ratelimited' }, { 'content-type': 'application/json', 'retry-after': '1' }, /postMessage$/);
  await hub.say(chat, 'A person here.');
  await hub.settled(chat, 'A person here.', 'SENT');

  const address = `/channels/${channel.id}`;
  // A revoked token stops the channel, not the message; `emulate` takes every token.
  road.answers(200, { ok: false, error: 'token_revoked' }, { 'content-type': 'application/json' }, /postMessage$/);
  await hub.say(chat, 'With a wrong token.');
  await until('the channel says so', async () => (await hub.get(address)).health === 'auth');
  assert.equal((await hub.messages(chat)).at(-1).delivery_status, 'PENDING');
  // It is put in order there, so that the credentials are the same.
  await hub.put(address, { credentials_to_send_message: { token: Slack.token, signing_secret: SECRET } });
  await hub.settled(chat, 'With a wrong token.', 'SENT');

  await slack.call('conversations.archive', { channel: room.id }, Slack.customer);
  await hub.say(chat, 'Into the archive.');
  const failed = await hub.settled(chat, 'Into the archive.', 'FAILED');
  assert.equal(failed.meta_data.platform_error_code, 'is_archived');
  await slack.call('conversations.unarchive', { channel: room.id }, Slack.customer);
  await hub.post(`${address}/chats/${chat.id}/messages/${failed.id}/resend`);
  await hub.settled(chat, 'Into the archive.', 'SENT');
  await isRight(chat, said, room.id);
});
