import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, open, signIn } from '../lib/browser.mjs';
import { answers, bubbles, countedTo, questions, say, settled } from '../lib/page.mjs';
import { Server } from '../lib/server.mjs';

const LINES = Array.from({ length: 600 }, (_, i) => `line ${i + 1} of a long file`);
const TURNS = 130;
const SESSIONS = 90;

let server, browser, window, page;
before(async () => {
  server = await Server.start({}, { 'long.txt': LINES.join('\n') });
  browser = await launch();
  window = await open(browser);
  page = window.page;
  await signIn(window, server);
});
after(async () => {
  await window?.close();
  await browser?.close();
  await server?.stop();
});

const post = (path, body) =>
  page.evaluate(
    async ([path, body]) => {
      const response = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      return { status: response.status, body: await response.json() };
    },
    [path, body],
  );

test('a long list is read page by page', async () => {
  for (let n = 0; n < SESSIONS; n += 1) assert.equal((await post('/api/sessions', { title: `number ${n}` })).status, 200);
  await page.reload();
  const list = page.getByRole('navigation', { name: 'Conversations' });
  const titles = () => list.getByRole('link').allInnerTexts();
  await list.getByRole('link').first().waitFor();
  const first = (await titles()).length;
  assert.ok(first < SESSIONS, `${first} at first`);
  await page.waitForFunction((wanted) => {
    const nav = document.querySelector('nav[aria-label="Conversations"]');
    nav.scrollTop = nav.scrollHeight;
    return nav.querySelectorAll('a').length >= wanted;
  }, SESSIONS);
  assert.deepEqual((await titles()).map((text) => text.trim()), Array.from({ length: SESSIONS }, (_, i) => `number ${SESSIONS - 1 - i}`));
});

test('a long conversation is read from its end, and nothing moves when the earlier part arrives', async () => {
  const { body: session } = await post('/api/sessions', { title: 'long' });
  const chat = session.id.replaceAll('-', '');
  for (let n = 1; n <= TURNS; n += 1) {
    const sent = await post(`/api/chats/${chat}/messages`, { content: n === 3 ? 'find the heron' : `count to ${n % 3 || 3}`, clientId: `n${n}` });
    assert.equal(sent.status, 202);
    await page.evaluate(async (id) => {
      for (;;) {
        const [last] = await (await fetch(`/api/sessions/${id}/messages?limit=1`)).json();
        if (last.role === 'assistant' && !last.streaming) return;
      }
    }, session.id);
  }
  await page.goto(`${server.url}/c/${session.id}`);
  await settled(page);
  const loaded = await questions(page).count();
  assert.ok(loaded < TURNS && loaded > 20, `${loaded} at first`);
  const scroller = page.getByRole('region', { name: 'What was said' });
  assert.ok(await scroller.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight < 4), 'at the end');

  // The row at the upper edge stays where it is while older ones come above it.
  await scroller.evaluate((node) => (node.scrollTop = 500));
  const probe = () =>
    scroller.evaluate((node) => {
      const row = [...node.querySelectorAll('.row')].find((one) => one.dataset.ids === window.probe);
      return row?.getBoundingClientRect().top;
    });
  await scroller.evaluate((node) => {
    const top = node.getBoundingClientRect().top;
    window.probe = [...node.querySelectorAll('.row')].find((one) => one.getBoundingClientRect().top > top).dataset.ids;
  });
  const before = await probe();
  await scroller.evaluate((node) => (node.scrollTop -= 200));
  await page.waitForFunction((count) => document.querySelectorAll('.bubble').length > count, loaded);
  await page.waitForTimeout(200);
  assert.ok(Math.abs((await probe()) - before - 200) < 3, 'the row has stayed in its place');

  await page.waitForFunction((wanted) => {
    document.querySelector('.scroller').scrollTop = 0;
    return document.querySelectorAll('.bubble').length >= wanted;
  }, TURNS);
  assert.deepEqual(
    await bubbles(page),
    Array.from({ length: TURNS }, (_, i) => (i === 2 ? 'find the heron' : `count to ${(i + 1) % 3 || 3}`)),
  );
  assert.equal(await answers(page).count(), TURNS);
  assert.equal(await page.getByRole('button', { name: 'Show earlier messages' }).count(), 0);
});

test('the search leads to a message on an earlier page', async () => {
  await page.goto(server.url);
  await page.locator('#message').waitFor();
  await page.keyboard.press('ControlOrMeta+k');
  await page.getByRole('combobox', { name: 'Search' }).fill('heron');
  await page.locator('#hits mark').first().waitFor();
  await page.keyboard.press('Enter');
  const found = questions(page).filter({ hasText: 'find the heron' });
  await found.waitFor();
  await page.waitForFunction(() => {
    const bubble = [...document.querySelectorAll('.bubble')].find((one) => one.textContent.includes('heron'));
    const box = bubble?.getBoundingClientRect();
    return box && box.top > 0 && box.bottom < innerHeight;
  });
});

test('a message that is refused says why, and can be edited', async () => {
  await page.goto(server.url);
  await page.locator('#message').waitFor();
  await say(page, 'count to 300 slowly');
  await countedTo(page, 2);
  const chat = new URL(page.url()).pathname.split('/').at(-1).replaceAll('-', '');
  for (let n = 0; n < 50; n += 1) assert.equal((await post(`/api/chats/${chat}/messages`, { content: `wait ${n}` })).status, 202);
  await say(page, 'one too many');
  await questions(page).last().getByText('Not sent. Too many messages are waiting').waitFor();
  await questions(page).last().getByRole('button', { name: 'Edit' }).click();
  assert.equal(await page.locator('#message').inputValue(), 'one too many');
  assert.equal((await bubbles(page)).includes('one too many'), false);
  await page.getByRole('button', { name: 'Options for this conversation' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'What is on your mind?' }).waitFor();
  window.forgive(/status of 409/);
});

test('a long output is cut on the wire, and whole when somebody asks for it', async () => {
  await page.goto(server.url);
  await page.locator('#message').waitFor();
  await say(page, 'list files');
  await settled(page);
  await say(page, 'read long.txt');
  await settled(page);
  const card = answers(page).last().locator('details');
  await card.locator('summary').click();
  const output = card.getByRole('group', { name: 'Output' });
  assert.ok((await output.innerText()).length < 5_000);
  await card.getByRole('button', { name: 'Show the whole output' }).click();
  await output.getByText('line 600 of').waitFor();
  assert.equal((await output.innerText()).trim(), LINES.join('\n'));
});
