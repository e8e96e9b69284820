// The stories of every provider: what `aimock` says in its words, as a session, a chat and a rule see it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { FILES, Server } from '../../lib/server.mjs';
import { Aimock } from './aimock.mjs';
import { faultsOfAnswer, faultsOfPrompt } from './checks.mjs';
import { Relay } from './relay.mjs';
import { Chat, Session } from './talk.mjs';

const FIXTURES = JSON.parse(readFileSync(new URL('../fixtures/models.json', import.meta.url)));

/** `tellsUsage`: the peer counts tokens in this dialect. */
export function tellTheStoriesOf(provider, { settings, tellsUsage }) {
  let aimock, road, server;
  before(async () => {
    aimock = await Aimock.start(FIXTURES);
    road = await Relay.start(aimock.url);
    server = await Server.start({ ...settings(road.url), COLLOQUY_MODEL: `${provider}/story` });
  });
  after(async () => {
    await server?.stop();
    await road?.stop();
    await aimock?.stop();
  });

  const requests = () => road.seen.filter((one) => one.method === 'POST').map((one) => JSON.parse(one.body));
  const kinds = (events) => events.map((one) => one.type).filter((type) => type !== 'message.delta' && type !== 'message.reasoning');
  const text = (events, type = 'message.delta') => events.filter((one) => one.type === type).map((one) => one.text).join('');

  /** A session that is checked after everything it says. */
  async function talk() {
    const session = await Session.open(server, provider);
    const said = [];
    let known = 0;
    const say = async (content, onEvent) => {
      said.push(content);
      const events = await session.say(content, onEvent);
      const messages = await session.messages();
      const stored = messages.slice(known).filter((one) => one.role === 'assistant');
      known = messages.length;
      assert.deepEqual(faultsOfAnswer(events, stored), [], content);
      assert.deepEqual(faultsOfPrompt(requests().at(-1), said), [], content);
      return events;
    };
    return { session, say };
  }

  test(`${provider}: text, reasoning, one tool, and several at once`, async () => {
    const { say } = await talk();
    const hello = await say('Please say hello.');
    assert.equal(text(hello), 'Hello there: an answer of several pieces, with “quotes” and 🙂.');
    assert.deepEqual(kinds(hello), ['message.start', 'message.done']);
    const { status, usage } = hello.at(-1);
    assert.equal(status, 'completed');
    assert.equal(usage.outputTokens > 0, tellsUsage);

    const thought = await say('Please think first.');
    assert.equal(text(thought, 'message.reasoning'), 'Six times seven is what they want.');
    assert.equal(text(thought), 'Forty-two.');

    const one = await say('Look at one file.');
    assert.deepEqual(kinds(one), ['message.start', 'tool.start', 'tool.result', 'message.done']);
    assert.equal(text(one), 'Let me look.It says alpha, beta and gamma.');
    assert.equal(one.find((event) => event.type === 'tool.result').result, FILES['notes.txt']);

    const three = await say('Now three at once.');
    const results = Object.fromEntries(three.filter((event) => event.type === 'tool.result').map((event) => [event.toolId, event]));
    assert.equal(results.call_a.result, FILES['README.md']);
    assert.equal(results.call_b.result, 'src/main.rs');
    assert.match(results.call_c.result, /^Tool execution failed: File not found/);
    assert.ok(results.call_c.isError);
    assert.equal(text(three), 'Two of three.');
    // What the model has thought goes back to it with the results, as it came.
    if (provider === 'anthropic') {
      const asked = requests().at(-1).messages.findLast((message) => message.role === 'assistant');
      assert.deepEqual(asked.content[0], { type: 'thinking', thinking: 'All at once.', signature: 'aimock-placeholder-signature' });
    }
    await say('Once more: say hello.');
  });

  test(`${provider}: a server that is busy is asked again, and one that says no is not`, async () => {
    const { say } = await talk();
    for (const [status, type] of [
      [529, 'overloaded_error'],
      [503, 'api_error'],
      [429, 'rate_limit_error'],
    ]) {
      const before = requests().length;
      await aimock.refuses(status, type);
      const answer = await say(`Please say hello after ${status}.`);
      assert.equal(answer.at(-1).status, 'completed');
      assert.equal(requests().length, before + 2);
    }
    // As long as it says, and not a moment earlier.
    road.answers(429, { error: { type: 'rate_limit_error', message: 'later' } }, { 'content-type': 'application/json', 'retry-after': '1' });
    const waited = await say('Please say hello after a second.');
    assert.ok(waited.find((event) => event.type === 'message.delta').at >= 1_000);

    const before = requests().length;
    const tooLong = await say('This is too fast.');
    assert.equal(tooLong.find((event) => event.type === 'message.error').code, 'provider_rate_limited');
    const refused = await say('This is not allowed.');
    assert.equal(refused.find((event) => event.type === 'message.error').code, 'provider_rejected');
    assert.equal(requests().length, before + 2, 'neither was asked again');
    assert.equal((await say('Please say hello.')).at(-1).status, 'completed');
  });

  test(`${provider}: an answer that breaks off stays as far as it came`, async () => {
    const { say } = await talk();
    const before = requests().length;
    const broken = await say('Please break off.');
    const { code, retryable } = broken.find((event) => event.type === 'message.error');
    assert.deepEqual([code, retryable], ['provider_unavailable', true], 'the connection broke');
    assert.ok('This answer breaks off long before it has come to its end'.startsWith(text(broken).slice(0, 20)) && text(broken).length > 0);
    assert.equal(requests().length, before + 1, 'what somebody has seen is not asked for again');
    const unseen = await say('Please break at once.');
    assert.equal(unseen.at(-1).status, 'failed');
    assert.equal(requests().length, before + 5, 'what nobody has seen is asked for three times more');
    assert.equal((await say('Please say hello.')).at(-1).status, 'completed');
  });

  test(`${provider}: a slow answer is shown while it comes, and can be stopped`, async () => {
    const { session, say } = await talk();
    let pieces = 0;
    const answer = await say('Please take your time.', async (event) => {
      if (event.type === 'message.delta' && (pieces += 1) === 2) assert.deepEqual(await session.cancel(), { cancelled: true });
    });
    assert.equal(answer.at(-1).status, 'cancelled');
    assert.ok(text(answer).length < 80, text(answer));
    const [first, second] = answer.filter((event) => event.type === 'message.delta');
    assert.ok(first.at >= 250 && second.at > first.at, 'each piece comes when it is there');
    assert.equal((await say('Please say hello.')).at(-1).status, 'completed');
  });

  test(`${provider}: whatever goes wrong by chance, every answer ends once and the next one works`, async () => {
    const talks = await Promise.all([1, 2, 3, 4].map(talk));
    await aimock.chaos({ dropRate: 0.25, malformedRate: 0.25, disconnectRate: 0.25 });
    const ends = await Promise.all(talks.map(({ session }) => session.say('Please say hello.')));
    await aimock.chaos(null);
    for (const [i, events] of ends.entries()) {
      const stored = (await talks[i].session.messages()).filter((one) => one.role === 'assistant');
      assert.deepEqual(faultsOfAnswer(events, stored), []);
      const code = events.find((event) => event.type === 'message.error')?.code;
      assert.match(code ?? 'provider_unavailable', /^provider_(unavailable|truncated|rejected)$/);
      assert.equal((await talks[i].session.say('Please say hello.')).at(-1).status, 'completed');
    }
  });

  test(`${provider}: a chat says the same in its own words`, async () => {
    const chat = await Chat.open(server, provider);
    const three = await chat.say('Now three at once.');
    const turn = three.filter((frame) => frame.turnId).map((frame) => frame.type);
    assert.deepEqual(turn.filter((type) => type === 'tool_use').length, 3);
    assert.deepEqual(turn.filter((type) => type === 'tool_result').length, 3);
    assert.deepEqual(turn.slice(-2), ['assistant_message', 'result']);
    await aimock.refuses(529, 'overloaded_error');
    const again = await chat.say('Please say hello.');
    assert.ok(again.some((frame) => frame.type === 'agent_status' && frame.message === 'Retrying'));
    assert.equal(again.at(-1).outcome, 'completed');
    const broken = await chat.say('Please break off.');
    assert.equal(broken.at(-1).code, 'provider_unavailable');
    assert.ok(broken.some((frame) => frame.type === 'assistant_message'));
    chat.close();
  });

  test(`${provider}: a rule is answered by the tool it forces, also after a refusal and a wrong column`, async () => {
    const headers = { authorization: `Bearer ${server.token()}`, 'content-type': 'application/json' };
    const run = async (rule_code) => {
      const answer = await fetch(`${server.url}/rules/run?wait=30`, { method: 'POST', headers, body: JSON.stringify({ rule_code }) });
      return { status: answer.status, ...(await answer.json()) };
    };
    await aimock.refuses(529, 'overloaded_error');
    const first = requests().length;
    const right = await run('the guests of every company');
    assert.equal(right.status, 'done', JSON.stringify(right));
    assert.equal(requests().length, first + 2);
    const choice = requests().at(-1).tool_choice;
    assert.equal(choice.name ?? choice.function.name, 'answer_rule');

    const repaired = await run('a wrong column first');
    assert.equal(repaired.status, 'done', JSON.stringify(repaired));
    assert.equal(requests().length, first + 4);
    assert.match(JSON.stringify(requests().at(-1).messages.at(-1)), /no_such_column/, 'the model is told what was wrong');

    const forbidden = await run('a hostile one');
    assert.equal(forbidden.code, 'forbidden_sql', JSON.stringify(forbidden));
    assert.equal(requests().length, first + 5, 'and is not asked again');
    const talks = await run('one that answers in words');
    assert.equal(talks.status, 'done', JSON.stringify(talks));
  });
}
