// Every checker of these tests finds the faults that are planted for it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

import { faultsOfAnswer, faultsOfIntake, faultsOfPrompt, faultsOfSending, faultsOfStatuses } from './lib/checks.mjs';
import { Aimock } from './lib/aimock.mjs';
import { Relay } from './lib/relay.mjs';
import { slackSignature } from './lib/slack.mjs';
import { until } from './lib/until.mjs';

const ours = (id, content, more) => ({ external_id: id, content, sender_type: 'AGENT', delivery_status: 'SENT', ...more });
const heard = (content) => ({ content, sender_type: 'CONTACT', delivery_status: 'SENT' });

test('an answer that is missing, doubled, changed, unknown or out of order is noticed', () => {
  const kept = [heard('hello'), ours('1', 'one'), ours('2', 'two'), ours(null, 'no', { delivery_status: 'FAILED' })];
  const sent = [
    { id: '1', text: 'one' },
    { id: '2', text: 'two' },
  ];
  assert.deepEqual(faultsOfSending(kept, sent), []);
  for (const [what, theirs] of Object.entries({
    missing: sent.slice(1),
    doubled: [...sent, sent[0]],
    'doubled under a new name': [...sent, { id: '3', text: 'one' }],
    changed: [sent[0], { id: '2', text: 'too' }],
    'out of order': [sent[1], sent[0]],
  })) {
    assert.notDeepEqual(faultsOfSending(kept, theirs), [], what);
  }
  assert.notDeepEqual(faultsOfSending([ours('1', 'one', { delivery_status: 'FAILED' })], sent.slice(0, 1)), [], 'sent, and said to have failed');
});

test('a message of a contact that is missing, doubled, invented or out of order is noticed', () => {
  const kept = ['a', 'b', 'a'].map(heard);
  assert.deepEqual(faultsOfIntake(['a', 'b', 'a'], [...kept, ours('1', 'x')]), []);
  for (const said of [['a', 'b'], ['a', 'b', 'a', 'a'], ['a', 'b', 'a', 'c'], ['b', 'a', 'a']]) assert.equal(faultsOfIntake(said, kept).length, 1, said);
});

test('a status that falls is noticed', () => {
  const rows = (...all) => all.map((delivery_status) => ({ type: 'message_updated', message_id: 'm', delivery_status }));
  for (const right of [rows('SENT', 'SENT', 'DELIVERED', 'READ'), rows('SENT', 'FAILED'), rows('FAILED', 'DELIVERED')]) {
    assert.deepEqual(faultsOfStatuses(right), []);
  }
  for (const wrong of [rows('READ', 'SENT'), rows('DELIVERED', 'SENT', 'READ'), rows('DELIVERED', 'FAILED'), rows('READ', 'FAILED', 'DELIVERED')]) {
    assert.notDeepEqual(faultsOfStatuses(wrong), []);
  }
});

test('an answer of a model that is not whole, or not kept as it was told, is noticed', () => {
  const text = (words) => ({ parts: [{ type: 'text', content: { text: words } }] });
  const [start, call, result, piece, done] = [
    { type: 'message.start' },
    { type: 'tool.start', toolId: 'a' },
    { type: 'tool.result', toolId: 'a' },
    { type: 'message.delta', text: 'hi' },
    { type: 'message.done', status: 'completed' },
  ];
  const right = [start, call, result, piece, done];
  assert.deepEqual(faultsOfAnswer(right, [text('h'), text('i')]), []);
  assert.deepEqual(faultsOfAnswer([start, { type: 'message.error' }, { ...done, status: 'failed' }], []), []);
  for (const [what, events] of Object.entries({
    'no beginning': right.slice(1),
    'no end': right.slice(0, -1),
    'two ends': [...right, done],
    'something behind the end': [...right, piece],
    'no result': right.filter((one) => one !== result),
    'a result twice': [start, call, result, ...right.slice(2)],
    'a result of nothing': right.filter((one) => one !== call),
    'a piece less': right.filter((one) => one !== piece),
    'a piece twice': [start, piece, ...right.slice(1)],
    'failed without a word': [...right.slice(0, -1), { ...done, status: 'failed' }],
    'an error and no failure': [start, { type: 'message.error' }, ...right.slice(1)],
  })) {
    assert.notDeepEqual(faultsOfAnswer(events, [text('hi')]), [], what);
  }
});

test('a request that no provider would take is noticed, in either dialect', () => {
  const said = ['one', 'two'];
  const anthropic = [
    { role: 'user', content: 'one' },
    { role: 'assistant', content: [{ type: 'tool_use', id: 'a' }, { type: 'tool_use', id: 'b' }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a' }, { type: 'tool_result', tool_use_id: 'b' }] },
    { role: 'assistant', content: [{ type: 'text', text: 'well' }] },
    { role: 'user', content: [{ type: 'text', text: 'two' }] },
  ];
  const openai = [
    { role: 'system', content: 'be brief' },
    { role: 'user', content: 'one' },
    { role: 'assistant', content: null, tool_calls: [{ id: 'a' }, { id: 'b' }] },
    { role: 'tool', tool_call_id: 'a', content: 'x' },
    { role: 'tool', tool_call_id: 'b', content: 'y' },
    { role: 'assistant', content: 'well' },
    { role: 'user', content: 'two' },
  ];
  for (const messages of [anthropic, openai]) {
    assert.deepEqual(faultsOfPrompt({ messages }, said), []);
    messages.forEach((message, i) => {
      if (message.role === 'system') return;
      const name = JSON.stringify(message);
      // A turn that fails after its tools leaves results without words of the model, which the one dialect shows so.
      const may = messages === openai && message.content === 'well';
      assert.equal(faultsOfPrompt({ messages: messages.toSpliced(i, 1) }, said).length > 0, !may, `without ${name}`);
      assert.notDeepEqual(faultsOfPrompt({ messages: messages.toSpliced(i, 0, message) }, said), [], `twice ${name}`);
    });
  }
});

test('a relay loses, holds back and replaces answers, and breaks off what breaks off', async () => {
  const aimock = await Aimock.start([
    { match: { userMessage: 'whole' }, response: { content: 'All of it.' } },
    { match: { userMessage: 'half' }, response: { content: 'Only the first half of this comes.' }, streamingProfile: { ttft: 20, tps: 50 }, truncateAfterChunks: 3 },
  ]);
  const road = await Relay.start(aimock.url);
  const ask = async (content) => {
    const body = JSON.stringify({ model: 'story', stream: true, messages: [{ role: 'user', content }] });
    return (await fetch(`${road.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).text();
  };
  assert.match(await ask('whole'), /All of it/);
  assert.match(await road.again(road.seen[0]).then((one) => one.body), /All of it/);
  await assert.rejects(ask('half'));
  assert.match(road.seen.at(-1).answer.body, /Only the/);
  road.loses();
  await assert.rejects(ask('whole'));
  assert.match(road.seen.at(-1).answer.body, /All of it/, 'it has arrived');
  road.answers(418, { no: 'tea' });
  assert.equal(await ask('whole'), '{"no":"tea"}');
  road.holds();
  const held = ask('whole').then(() => 'answered', () => 'broken');
  await until('it has arrived', () => road.seen.at(-1).answer);
  assert.equal(await Promise.race([held, new Promise((done) => setTimeout(() => done('nothing'), 200))]), 'nothing');
  await road.stop();
  assert.equal(await held, 'broken');
  await aimock.stop();
});

test('a peer does not outlive whoever started it, however that ends', async () => {
  const script = `
    import { Aimock } from './lib/aimock.mjs';
    console.log((await Aimock.start([{ match: {}, response: { content: 'x' } }])).url);
    setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] });
  const [url] = (await once(parent.stdout, 'data')).toString().split('\n');
  const answers = () => fetch(url).then(() => true, () => false);
  assert.equal(await answers(), true);
  parent.kill('SIGKILL');
  await until('it is gone', async () => !(await answers()), 10_000);
});

test('what does not happen is not waited for without end', async () => {
  await assert.rejects(
    until('never', () => false, 50),
    /never/,
  );
});

test('events are signed as Slack signs them', () => {
  // Slack's own published example.
  const body =
    'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c';
  const signature = slackSignature('8f742231b10e8888abcd99yyyzzz85a5', '1531420618', body);
  assert.equal(signature, 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503');
});
