// What a model asks in the middle of its work, in all its forms, and what becomes of the answer.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { complaints, launch, open, signIn } from '../lib/browser.mjs';
import { answers, bubbles, newest, say, settled } from '../lib/page.mjs';
import { Server } from '../lib/server.mjs';
import { Upstream } from '../lib/upstream.mjs';

let server, upstream, browser, window, page;
before(async () => {
  upstream = await Upstream.start();
  server = await Server.start(upstream.settings);
  browser = await launch();
  window = await open(browser);
  page = window.page;
  await signIn(window, server);
  await page.goto(`${server.url}/p`);
  await page.getByLabel('Folder on the server').fill(server.workdir);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  // The folder's name is the project's, unless somebody says otherwise.
  await page.waitForURL(/\/p\/work$/);
});
after(async () => {
  await window?.close();
  await browser?.close();
  await server?.stop();
  await upstream?.stop();
});

const option = (label, description = '') => ({ label, description });
const QUESTIONS = [
  { question: 'Where shall the apples be kept?', header: 'Store', options: [option('SQLite', 'One file.'), option('<b>PostgreSQL</b>')] },
  { question: 'What shall be written?', header: 'Texts', multiSelect: true, options: [option('Tests'), option('Docs'), option('More')] },
];
const open_ = () => page.getByRole('form', { name: 'A question to you' });
const done = () => page.getByRole('form', { name: 'A question that was answered' });
const choice = (form, name) => form.getByRole('button', { name, exact: true });
const pressed = (form) => form.locator('[aria-pressed=true] .label').allInnerTexts();
/** What the model was told last. */
const told = () => upstream.requests.at(-1).messages.at(-1).content;

test('several questions are answered together, some of them with more than one choice', async () => {
  upstream.will({ text: 'See `src/main.rs:2` first.', calls: [{ name: 'ask_user', input: { questions: QUESTIONS } }] });
  upstream.will({ text: 'Noted.' });
  await say(page, 'plan the cellar');
  await page.waitForURL(/\/p\/work\/\d+$/);
  await choice(open_(), '<b>PostgreSQL</b>').waitFor();
  await settled(page);
  const answer = page.getByRole('button', { name: 'Answer', exact: true });
  assert.equal(await answer.isDisabled(), true);
  await choice(open_(), 'SQLite One file.').click();
  await choice(open_(), '<b>PostgreSQL</b>').click();
  assert.deepEqual(await pressed(open_()), ['<b>PostgreSQL</b>'], 'one of these');
  assert.equal(await answer.isDisabled(), true, 'the other question is open');
  await choice(open_(), 'Docs').click();
  await choice(open_(), 'More').click();
  await choice(open_(), 'More').click();
  await choice(open_(), 'Tests').click();
  assert.deepEqual(await complaints(page), []);
  await answer.click();
  await settled(page);
  assert.equal((await bubbles(page)).at(-1), '<b>PostgreSQL</b>; Docs, Tests');
  assert.equal(await newest(page), 'Noted.');
  assert.equal(told(), '<b>PostgreSQL</b>; Docs, Tests');
  const shown = await pressed(done());
  assert.deepEqual(shown, ['<b>PostgreSQL</b>', 'Tests', 'Docs']);
  await page.reload();
  await done().waitFor();
  await settled(page);
  assert.deepEqual(await pressed(done()), shown);
  assert.equal(await open_().count(), 0);
});

test('own words stand instead of the one choice, and beside several', async () => {
  upstream.will({ calls: [{ name: 'ask_user', input: { questions: QUESTIONS } }] });
  upstream.will({ text: 'As you like.' });
  await say(page, 'once more');
  await choice(open_(), 'SQLite One file.').click();
  await open_().getByLabel('Your own words').first().fill('In a barrel');
  assert.deepEqual(await pressed(open_()), []);
  await choice(open_(), 'Tests').click();
  await open_().getByLabel('Your own words').last().fill('a song');
  await page.keyboard.press('Enter');
  await settled(page);
  assert.equal(told(), 'In a barrel; Tests, a song');
  assert.equal((await bubbles(page)).at(-1), 'In a barrel; Tests, a song');
});

test('the message field answers too, and is the only answer', async () => {
  upstream.will({ calls: [{ name: 'ask_user', input: { questions: QUESTIONS.slice(0, 1) } }] });
  upstream.will({ text: 'Then not.' });
  await say(page, 'and again');
  await open_().waitFor();
  await settled(page);
  await say(page, 'leave it');
  await open_().waitFor({ state: 'detached' });
  await settled(page);
  assert.equal(told(), 'leave it');
  assert.equal(await newest(page), 'Then not.');
  assert.deepEqual(await pressed(done().last()), []);
});

test('an answer that fails says so, also after a reload, and can be had again', async () => {
  upstream.will({ status: 400 });
  upstream.will({ text: 'Here it is.' });
  await say(page, 'tell me');
  const retry = answers(page).last().getByRole('button', { name: 'Retry' });
  const panel = answers(page).last().locator('.panel');
  await panel.waitFor();
  const words = await panel.locator('p').innerText();
  assert.ok(words.length > 5 && !words.startsWith('Error'), words);
  await page.reload();
  await panel.waitFor();
  assert.equal(await panel.locator('p').innerText(), words);
  if ((await retry.count()) > 0) await retry.click();
  else await say(page, 'tell me again');
  await settled(page);
  assert.equal(await newest(page), 'Here it is.');
});
