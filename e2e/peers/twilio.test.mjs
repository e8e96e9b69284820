// WhatsApp over Twilio, as `emulate` plays it: whole stories, with what the real one does to a receiver.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { Server } from '../lib/server.mjs';
import { faultsOfIntake, faultsOfSending, faultsOfStatuses } from './lib/checks.mjs';
import { Twilio } from './lib/emulate.mjs';
import { Hub } from './lib/hub.mjs';
import { Relay } from './lib/relay.mjs';
import { until } from './lib/until.mjs';

const NUMBER = 'whatsapp:+15551234567';

let twilio, road, server, front, hub, channel, watch;
before(async () => {
  twilio = await Twilio.start(NUMBER);
  // The way there, and the proxy in front of the server that Twilio reaches it by.
  road = await Relay.start(`http://${twilio.host}`);
  server = await Server.start({ COLLOQUY_EGRESS_ALLOW: road.host });
  front = await Relay.start(server.url);
  hub = await Hub.begun(server);
  watch = await hub.watch();
  await hub.agent();
  channel = await hub.channel({
    name: 'Shop',
    platform: 'WHATSAPP_TWILIO',
    credentials_to_send_message: twilio.credentials,
    api_to_send_message: twilio.messages(road.url),
    webhook_base_url: front.url,
  });
  assert.ok(channel.inbound_url.startsWith(`${front.url}/webhooks/inbound/whatsapp_twilio/`));
  await twilio.calls(channel.inbound_url);
});
after(async () => {
  watch?.stop();
  await front?.stop();
  await server?.stop();
  await road?.stop();
  await twilio?.stop();
});

/** Everybody who has written, and what. */
const said = new Map();
async function say(from, text) {
  said.set(from, [...(said.get(from) ?? []), text]);
  await twilio.say(`whatsapp:${from}`, text);
}

/** What a contact was sent. */
const sentTo = async (to) => (await twilio.sent()).filter((one) => one.to === `whatsapp:${to}`).map(({ sid, body }) => ({ id: sid, text: body }));

// Whatever a test is about: nothing is lost, doubled, invented, or taken back.
afterEach(async () => {
  assert.deepEqual(faultsOfStatuses(watch.events), []);
  const chats = await hub.chats(channel);
  assert.deepEqual(chats.map((chat) => chat.external_id).sort(), [...said.keys()].sort(), 'nobody else has a chat');
  for (const chat of chats) {
    const kept = await hub.atRest(chat);
    assert.deepEqual(faultsOfIntake(said.get(chat.external_id), kept), []);
    assert.deepEqual(faultsOfSending(kept, await sentTo(chat.external_id)), []);
  }
});

const fields = (one) => Object.fromEntries(new URLSearchParams(one.body));
const inbound = (text) => front.seen.find((one) => fields(one).Body === text && !fields(one).MessageStatus);

test('a customer is answered once, and the status of the answer only rises', async () => {
  const from = '+15550000001';
  const odd = "What's “this” 🙂 & that = 100 %?\nשלום";
  await say(from, odd);
  const chat = await hub.chatWith(channel, from);
  await until('an answer', async () => (await hub.messages(chat)).find((one) => one.sender_type === 'AGENT' && one.delivery_status === 'SENT'));
  assert.equal(fields(inbound(odd)).MessagingServiceSid, '', 'a parameter without a value, which is signed as well');
  assert.equal(inbound(odd).answer.body, '<Response/>');

  await say(from, 'count to 3');
  const answer = await hub.settled(chat, '1 2 3', 'SENT');
  const first = front.seen.findIndex((one) => fields(one).MessageSid === answer.external_id);
  assert.equal(fields(front.seen[first]).MessageStatus, 'queued');
  assert.equal(fields(front.seen[first]).Body, '1 2 3', 'a status with a body, which is no message');
  assert.match(front.seen[first].path, new RegExp(`message=${answer.id}$`));

  // Twilio's notes arrive in any order.
  for (const [status, kept] of [
    ['sending', 'SENT'],
    ['delivered', 'DELIVERED'],
    ['sent', 'DELIVERED'],
    ['queued', 'DELIVERED'],
    ['read', 'READ'],
    ['delivered', 'READ'],
    ['undelivered', 'READ'],
  ]) {
    await twilio.becomes(answer.external_id, status);
    const now = (await hub.messages(chat)).find((one) => one.id === answer.id);
    assert.equal(now.delivery_status, kept, `after ${status}`);
    assert.equal(front.seen.at(-1).answer.status, 200);
  }
});

test('what Twilio has signed is good for nothing else', async () => {
  const from = '+15550000002';
  await say(from, 'count to 2');
  const chat = await hub.chatWith(channel, from);
  await hub.settled(chat, '1 2', 'SENT');
  const genuine = inbound('count to 2');
  const other = await hub.channel({ name: 'Other', platform: 'WHATSAPP_TWILIO', credentials_to_send_message: twilio.credentials, webhook_base_url: front.url });

  const repeated = await Promise.all(Array.from({ length: 8 }, () => front.again(genuine)));
  assert.deepEqual(new Set(repeated.map((one) => `${one.status} ${one.body}`)), new Set(['200 <Response/>']));
  const { 'x-twilio-signature': signature, ...unsigned } = genuine.headers;
  const flipped = `${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`;
  for (const [what, changes] of Object.entries({
    'another text': { body: genuine.body.replace('count+to+2', 'count+to+9') },
    'the same text as another message': { body: genuine.body.replace(/MessageSid=SM./, 'MessageSid=SMx') },
    'without the parameter that has no value': { body: genuine.body.replace('&MessagingServiceSid=', '') },
    'another address': { path: `${genuine.path}?a=b` },
    'another channel': { path: genuine.path.replace(channel.id, other.id) },
    'another host': { headers: { ...genuine.headers, host: new URL(server.url).host, 'x-forwarded-host': new URL(front.url).host } },
    'no signature': { headers: unsigned },
    'another signature': { headers: { ...unsigned, 'x-twilio-signature': flipped } },
    'half a signature': { headers: { ...unsigned, 'x-twilio-signature': signature.slice(0, 14) } },
  })) {
    const answer = await front.again(genuine, changes);
    // Whoever calls the address of the server itself says a true address; the signature is for the one in front.
    const expected = what === 'another host' ? 200 : 403;
    assert.equal(answer.status, expected, what);
  }
  assert.deepEqual(await hub.chats(other), []);
  assert.deepEqual((await hub.messages(chat)).map((one) => one.content), ['count to 2', '1 2']);
});

test('an answer of Twilio that gets lost is looked up, and nothing is sent twice', async () => {
  const from = '+15550000003';
  await say(from, 'count to 2');
  const chat = await hub.chatWith(channel, from);
  await hub.settled(chat, '1 2', 'SENT');

  road.loses(/Messages\.json$/);
  await hub.say(chat, 'The answer to this one is lost.');
  const first = await hub.settled(chat, 'The answer to this one is lost.', 'SENT');
  assert.ok(first.external_id);

  // The server dies while nobody knows what has become of its message.
  road.holds(/Messages\.json$/);
  await hub.say(chat, 'The server dies over this one.');
  await until('it is at Twilio', async () => (await sentTo(from)).some((one) => one.text === 'The server dies over this one.'));
  await server.kill();
  await say(from, 'Is anybody there?');
  await server.startAgain();
  watch = await hub.watch(watch.events);
  assert.equal((await front.again(inbound('Is anybody there?'))).status, 200, 'Twilio tries again');
  await hub.settled(chat, 'The server dies over this one.', 'SENT');
  await hub.say(chat, 'Here again.');
  await hub.settled(chat, 'Here again.', 'SENT');
});

test('an operator takes over in the middle of an answer, and hands back', async () => {
  const from = '+15550000004';
  await say(from, 'count to 90 slowly');
  const chat = await hub.chatWith(channel, from);
  await hub.take(chat);
  await say(from, 'Is this a person?');
  await hub.say(chat, 'Yes.');
  await hub.settled(chat, 'Yes.', 'SENT');
  await hub.release(chat);
  // The newest message is a person's, so nothing is due before the customer writes.
  await say(from, 'count to 4');
  await hub.settled(chat, '1 2 3 4', 'SENT');
  assert.deepEqual((await sentTo(from)).map((one) => one.text), ['Yes.', '1 2 3 4']);
});

test('what Twilio refuses waits, fails or is sent again, as it says', async () => {
  const from = '+15550000005';
  await say(from, 'count to 2');
  const chat = await hub.chatWith(channel, from);
  await hub.settled(chat, '1 2', 'SENT');

  road.answers(429, { code: 20429, message: 'Too Many Requests', status: 429 }, { 'content-type': 'application/json', 'retry-after': '1' });
  await hub.say(chat, 'Later.');
  await hub.settled(chat, 'Later.', 'SENT');
  assert.equal(road.seen.filter((one) => fields(one).Body === 'Later.').length, 2);

  // A wrong token stops the channel, not the message.
  const address = `/channels/${channel.id}`;
  const { from_number, user } = twilio.credentials;
  await hub.put(address, { credentials_to_send_message: { user, token: 'not the token', from_number } });
  await hub.say(chat, 'With a wrong token.');
  await until('the channel says so', async () => (await hub.get(address)).health === 'auth');
  assert.equal((await hub.messages(chat)).at(-1).delivery_status, 'PENDING');
  await hub.put(address, { credentials_to_send_message: twilio.credentials });
  await hub.settled(chat, 'With a wrong token.', 'SENT');

  // A number that is not ours cannot send.
  await hub.put(address, { credentials_to_send_message: { ...twilio.credentials, from_number: '+15559999999' } });
  await hub.say(chat, 'From a wrong number.');
  const failed = await hub.settled(chat, 'From a wrong number.', 'FAILED');
  assert.equal(failed.meta_data.platform_error_type, 'permanent');
  assert.ok((await hub.chats(channel)).find((one) => one.id === chat.id).needs_attention);
  await hub.put(address, { credentials_to_send_message: twilio.credentials });
  await hub.post(`/channels/${channel.id}/chats/${chat.id}/messages/${failed.id}/resend`);
  await hub.settled(chat, 'From a wrong number.', 'SENT');
});
