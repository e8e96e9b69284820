import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, open, signIn } from '../lib/browser.mjs';
import { answers, assertCounted, bubbles, countedTo, newest, numbers, questions, row, say, settled } from '../lib/page.mjs';
import { Server } from '../lib/server.mjs';

let server, browser, window, page;
before(async () => {
  server = await Server.start();
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

const fresh = async () => {
  await page.getByRole('link', { name: 'New conversation', exact: true }).click();
  await page.getByRole('heading', { name: 'What is on your mind?' }).waitFor();
};

test('a first message makes a conversation, and the tool it uses is a card that opens', async () => {
  await say(page, 'list files');
  await page.waitForURL(/\/c\/[0-9a-f-]{36}$/);
  await settled(page);
  assert.deepEqual(await bubbles(page), ['list files']);
  const card = answers(page).locator('details');
  assert.match(await card.locator('summary').innerText(), /Searched for files/);
  await card.locator('summary').click();
  const output = card.getByRole('group', { name: 'Output' });
  assert.match(await output.innerText(), /README\.md/);
  assert.match(await output.innerText(), /src\/main\.rs/);
  assert.match(await newest(page), /3 files/);
  await page.waitForFunction(() => document.title === 'list files · Colloquy');
  await row(page, 'list files').waitFor();
});

test('a tool that fails says so', async () => {
  await say(page, 'read missing.txt');
  await settled(page);
  const card = answers(page).last().locator('details');
  await card.getByText('Failed', { exact: true }).waitFor();
  await card.locator('summary').click();
  assert.match(await card.getByRole('group', { name: 'Error' }).innerText(), /missing\.txt/);
});

test('a thought can be opened', async () => {
  await say(page, 'think about birds');
  await settled(page);
  const thought = answers(page).last().locator('details');
  await thought.locator('summary').click();
  assert.match(await thought.innerText(), /I have no thoughts/);
});

test('a reload shows the same', async () => {
  // Thoughts and durations are told to those who are there; the rest is for ever.
  const lasting = () =>
    page.evaluate(() => {
      for (const details of document.querySelectorAll('details')) details.open = false;
      return [...document.querySelectorAll('.bubble, .prose, details .title, details .summary')].map((node) => node.textContent);
    });
  const before = await lasting();
  await page.reload();
  await settled(page);
  assert.deepEqual(await lasting(), before);
  assert.ok(before.length > 8);
});

test('an answer is followed through a reload', async () => {
  await fresh();
  await say(page, 'count to 30 slowly');
  await countedTo(page, 5);
  await page.reload();
  await countedTo(page, 12);
  await page.reload();
  await settled(page);
  await assertCounted(page, 1, 30);
});

test('two tabs show the same', async () => {
  await fresh();
  await say(page, 'count to 20 slowly');
  await countedTo(page, 2);
  const other = await window.context.newPage();
  await other.goto(page.url());
  await countedTo(other, 8);
  // From here on the second tab speaks, and the first one hears it.
  await say(other, 'list files');
  await page.waitForFunction(() => document.querySelectorAll('.bubble').length === 2);
  await settled(page);
  await settled(other);
  assert.equal(await other.locator('.content').innerText(), await page.locator('.content').innerText());
  assert.match(await answers(page).first().innerText(), new RegExp(numbers(1, 20)));
  await other.close();
});

test('a second message waits, is answered in its turn, and stands above its own answer', async () => {
  await fresh();
  await say(page, 'count to 12 slowly');
  await countedTo(page, 2);
  await say(page, 'list files');
  await questions(page).last().getByText('Queued').waitFor();
  await page.getByText('1 queued').waitFor();
  await settled(page);
  const order = await page.locator('article h2').allTextContents();
  assert.deepEqual(order, ['You said', 'Answer', 'You said', 'Answer']);
  assert.match(await answers(page).first().innerText(), new RegExp(numbers(1, 12)));
  assert.match(await newest(page), /3 files/);
});

test('stop ends the answer and keeps its text', async () => {
  await fresh();
  await say(page, 'count to 200 slowly');
  await countedTo(page, 3);
  await page.getByRole('button', { name: 'Stop the answer' }).click();
  await page.getByText('Stopped.', { exact: true }).last().waitFor();
  await settled(page);
  const text = await newest(page);
  assert.match(text, /^1 2 3/);
  await page.reload();
  await settled(page);
  assert.equal(await newest(page), text);
  await page.getByText('Stopped.', { exact: true }).waitFor();

  await say(page, 'continue');
  await countedTo(page, Number(text.split(' ').at(-1)) + 2);
  await page.keyboard.press('Escape');
  await settled(page);
  assert.match(await newest(page), new RegExp(`^${Number(text.split(' ').at(-1)) + 1} `));
});

test('rename in place, from the list and from the head', async () => {
  await fresh();
  await say(page, 'list files');
  await settled(page);
  await page.getByRole('button', { name: 'Options for this conversation' }).click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByLabel('Name of the conversation').fill('Apples <b>and</b> pears');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Apples <b>and</b> pears' }).waitFor();
  await page.waitForFunction(() => document.title === 'Apples <b>and</b> pears · Colloquy');

  const link = row(page, 'Apples <b>and</b> pears');
  await link.hover();
  await link.focus();
  await page.keyboard.press('F2');
  await page.getByLabel('Name of the conversation').fill('Plums');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Plums' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Plums' }).waitFor();
});

test('search finds what was said, and leads to it', async () => {
  await fresh();
  await page.keyboard.press('ControlOrMeta+k');
  await page.getByRole('combobox', { name: 'Search' }).fill('apples');
  await page.getByText('Nothing was said about').waitFor();
  await page.getByRole('combobox', { name: 'Search' }).fill('slowly');
  const hits = page.getByRole('listbox').getByRole('option');
  await hits.first().locator('mark').first().waitFor();
  assert.ok((await hits.count()) >= 4);
  await page.keyboard.press('ArrowDown');
  const wanted = await hits.nth(1).innerText();
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/c\//);
  await questions(page).first().waitFor();
  assert.ok(wanted.includes((await bubbles(page))[0]));
  await page.waitForFunction(() => location.hash === '');
});

test('search finds a conversation by its name', async () => {
  await page.keyboard.press('ControlOrMeta+k');
  await page.getByRole('combobox', { name: 'Search' }).fill('plum');
  await page.locator('#hits').getByText('Plums').waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Plums' }).waitFor();
});

test('delete asks first, and is for good', async () => {
  await row(page, 'Plums').click();
  await page.getByRole('heading', { level: 1, name: 'Plums' }).waitFor();
  const gone = page.url();
  await page.getByRole('button', { name: 'Options for this conversation' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  await page.getByRole('heading', { level: 1, name: 'Plums' }).waitFor();

  await page.getByRole('button', { name: 'Options for this conversation' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.waitForURL(`${server.url}/`);
  assert.equal(await row(page, 'Plums').count(), 0);
  await page.goto(gone);
  await page.getByRole('heading', { name: 'There is no such conversation' }).waitFor();
  window.forgive(/status of 404/);
});

test('a draft stays with its conversation', async () => {
  await page.goto(server.url);
  await page.locator('#message').fill('half a thought');
  await row(page, 'count to 20 slowly').click();
  await page.getByRole('heading', { level: 1, name: 'count to 20 slowly' }).waitFor();
  assert.equal(await page.locator('#message').inputValue(), '');
  await fresh();
  assert.equal(await page.locator('#message').inputValue(), 'half a thought');
  await page.reload();
  assert.equal(await page.locator('#message').inputValue(), 'half a thought');
});

test('reading further up is left in peace, and one button leads back', async () => {
  await fresh();
  await page.setViewportSize({ width: 520, height: 420 });
  await say(page, 'count to 500');
  await countedTo(page, 300);
  const scroller = page.getByRole('region', { name: 'What was said' });
  await scroller.evaluate((node) => (node.scrollTop = 10));
  const latest = page.getByRole('button', { name: 'Jump to the latest message' });
  await latest.waitFor();
  await countedTo(page, 360);
  assert.equal(await scroller.evaluate((node) => node.scrollTop), 10);
  await latest.click();
  await settled(page);
  assert.ok(await scroller.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight < 4));
  assert.equal(await latest.count(), 0);
  await page.setViewportSize({ width: 1280, height: 860 });
});

test('mode and model stay with the conversation', async () => {
  await fresh();
  await page.getByText('Ask', { exact: true }).click();
  await say(page, 'list files');
  await settled(page);
  await page.reload();
  await settled(page);
  assert.equal(await page.getByRole('radio', { name: 'Ask' }).isChecked(), true);
  await page.getByText('Plan', { exact: true }).click();
  await page.waitForTimeout(300);
  await page.reload();
  await settled(page);
  assert.equal(await page.getByRole('radio', { name: 'Plan' }).isChecked(), true);
  assert.equal(await page.getByLabel('Model').inputValue(), 'demo/demo');
});
