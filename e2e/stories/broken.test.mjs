import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { launch, open, signIn } from '../lib/browser.mjs';
import { answers, assertCounted, bubbles, countedTo, newest, numbers, questions, say, settled } from '../lib/page.mjs';
import { Proxy } from '../lib/proxy.mjs';
import { Server } from '../lib/server.mjs';

let browser, proxy, server, window, page;
before(async () => (browser = await launch()));
after(async () => browser?.close());
beforeEach(async () => {
  proxy = await Proxy.start();
  server = await Server.start({ COLLOQUY_ORIGINS: proxy.url });
  proxy.to(server.url);
  window = await open(browser, { broken: true });
  page = window.page;
  await signIn(window, server, proxy.url);
});
afterEach(async () => {
  await window?.close();
  await proxy?.stop();
  await server?.stop();
});

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

test('a cut connection leaves no gap and no double', async () => {
  await say(page, 'count to 40 slowly');
  await countedTo(page, 3);
  proxy.cut();
  await page.getByText('Reconnecting…').waitFor();
  await pause(1_500);
  proxy.mend();
  await page.getByText('Reconnecting…').waitFor({ state: 'detached' });
  await countedTo(page, 20);
  // A short break is not worth a word.
  proxy.cut();
  proxy.mend();
  await settled(page);
  await assertCounted(page, 1, 40);
  assert.equal(await answers(page).count(), 1);
});

test('a message sent while the network is broken arrives once', async () => {
  await say(page, 'list files');
  await settled(page);
  proxy.cut();
  await say(page, 'read notes.txt');
  await questions(page).last().getByText('Sending…').waitFor();
  await pause(2_000);
  proxy.mend();
  await page.waitForFunction(() => document.querySelectorAll('.bubble').length === 2);
  await answers(page).nth(1).waitFor();
  await settled(page);
  assert.deepEqual(await bubbles(page), ['list files', 'read notes.txt']);
  assert.match(await newest(page), /alpha/);
  await page.reload();
  await settled(page);
  assert.deepEqual(await bubbles(page), ['list files', 'read notes.txt']);
});

test('a message whose answer was lost on the way is not stored twice', async () => {
  await say(page, 'list files');
  await settled(page);
  // The request arrives, the 202 does not come back.
  await page.route('**/api/chats/*/messages', async (route) => {
    await route.fetch();
    await route.abort('connectionreset');
  }, { times: 2 });
  await say(page, 'read notes.txt');
  await answers(page).nth(1).waitFor();
  await settled(page);
  await pause(3_000);
  assert.deepEqual(await bubbles(page), ['list files', 'read notes.txt']);
  await page.reload();
  await settled(page);
  assert.deepEqual(await bubbles(page), ['list files', 'read notes.txt']);
});

test('a message that waits to be sent survives a reload', async () => {
  await say(page, 'list files');
  await settled(page);
  await page.route('**/api/chats/*/messages', (route) => route.abort('connectionreset'));
  await say(page, 'read notes.txt');
  await questions(page).last().getByText('Sending…').waitFor();
  await page.unroute('**/api/chats/*/messages');
  await page.reload();
  await answers(page).nth(1).waitFor();
  await settled(page);
  assert.deepEqual(await bubbles(page), ['list files', 'read notes.txt']);
});

test('a server that is restarted politely is found again', async () => {
  await say(page, 'list files');
  await settled(page);
  await server.end();
  await server.startAgain();
  await say(page, 'read notes.txt');
  await answers(page).nth(1).waitFor();
  await settled(page);
  assert.match(await newest(page), /alpha/);
  await page.getByText('Reconnecting…').waitFor({ state: 'detached' });
});

test('a killed server comes back, the cut answer says so, and Continue goes on', async () => {
  await say(page, 'count to 25 slowly');
  await countedTo(page, 6);
  await server.kill();
  await page.getByText('Reconnecting…').waitFor();
  await server.startAgain();
  await page.getByText('The server stopped before the answer was finished.').waitFor();
  await page.getByText('Reconnecting…').waitFor({ state: 'detached' });
  const kept = (await newest(page)).split(/\s+/).map(Number);
  assert.deepEqual(kept.join(' '), numbers(1, kept.at(-1)));
  // A crash may cost what was said in the last twentieth of a second.
  assert.ok(kept.at(-1) >= 5);

  await page.getByRole('button', { name: 'Continue' }).click();
  await answers(page).nth(1).waitFor();
  await settled(page);
  await assertCounted(page, kept.at(-1) + 1, 25);
  assert.equal(await page.getByRole('button', { name: 'Continue' }).count(), 0);
  assert.deepEqual(await bubbles(page), ['count to 25 slowly', 'continue']);
});
