// Asking about this repository itself: projects, conversations, citations, questions.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { complaints, launch, open, signIn } from '../lib/browser.mjs';
import { answers, assertCounted, bubbles, countedTo, newest, say, settled } from '../lib/page.mjs';
import { Proxy } from '../lib/proxy.mjs';
import { Server } from '../lib/server.mjs';

const repository = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

let server, proxy, browser, window, page, folder;
before(async () => {
  proxy = await Proxy.start();
  server = await Server.start({ COLLOQUY_ORIGINS: proxy.url });
  proxy.to(server.url);
  browser = await launch();
  window = await open(browser);
  page = window.page;
  await signIn(window, server);
  folder = mkdtempSync(join(tmpdir(), 'colloquy-project-'));
  writeFileSync(join(folder, 'README.md'), '# Pears\n');
  writeFileSync(join(folder, 'image.bin'), Buffer.from([0, 1, 2]));
});
after(async () => {
  await window?.close();
  await browser?.close();
  await proxy?.stop();
  await server?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

const nav = () => page.getByRole('navigation', { name: 'Projects' });
const file = () => page.getByRole('region', { name: /^Text of / });
const card = () => page.getByRole('form', { name: /^A question/ });

/** The printed link is good for one window. */
async function signInAgain(next, url) {
  next.allow(url);
  await next.page.goto(url);
  await next.page.getByLabel("Owner's token").fill(server.token());
  await next.page.keyboard.press('Enter');
  await next.page.locator('#message').waitFor();
  next.forgive(/status of 401/);
}

test('without a project the side bar says how to get one', async () => {
  await nav().getByText('and ask about its files').waitFor();
  await nav().getByRole('link', { name: 'Add a project' }).click();
  await page.waitForURL(/\/p$/);
  await page.getByRole('heading', { level: 1, name: 'Projects' }).waitFor();
  assert.deepEqual(await complaints(page), []);
});

test('a folder that is not there is refused in words, and this repository is added', async () => {
  await page.getByLabel('Folder on the server').fill('/nowhere/at/all');
  await page.getByLabel('Name', { exact: true }).fill('colloquy');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByText('expected an absolute path of a directory').waitFor();
  window.forgive(/status of 422/);
  await page.getByLabel('Folder on the server').fill(repository);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.waitForURL(/\/p\/colloquy$/);
  await nav().getByRole('link', { name: 'colloquy' }).waitFor();
  await page.getByRole('heading', { name: 'Ask about colloquy' }).waitFor();
  assert.deepEqual(await complaints(page), []);
});

test('an answer cites the places it relies on, and a citation opens the file at its line', async () => {
  await say(page, 'search "pub enum Principal" in crates/domain/**/*.rs');
  await page.waitForURL(/\/p\/colloquy\/\d+$/);
  await settled(page);
  assert.match(await answers(page).locator('details summary').innerText(), /Searched in files/);
  const cited = answers(page).locator('a.cite').first();
  const place = await cited.innerText();
  assert.match(place, /^crates\/domain\/.+\.rs:\d+$/);
  await cited.click();
  await file().waitFor();
  assert.match(page.url(), /\/p\/colloquy\/\d+\?file=crates%2Fdomain%2F.+&line=\d+$/);
  const [path, line] = place.split(':');
  const lines = readFileSync(join(repository, path), 'utf8').split('\n');
  assert.match(lines[Number(line) - 1], /pub enum Principal/);
  assert.equal(await file().locator('code').innerText(), lines.join('\n'));
  // The line is marked, and in view.
  const seen = await file().evaluate((node, number) => {
    const mark = node.querySelector('.mark.shown').getBoundingClientRect();
    const text = node.querySelector('pre.text').getBoundingClientRect();
    const view = node.getBoundingClientRect();
    return { row: Math.round((mark.top - text.top) / mark.height) + 1, inView: mark.top >= view.top && mark.bottom <= view.bottom, number };
  }, Number(line));
  assert.equal(seen.row, Number(line));
  assert.ok(seen.inView);
  assert.deepEqual(await complaints(page), []);
});

test('the file is an address: a reload shows it again, Escape closes it, back opens it', async () => {
  await page.reload();
  await file().waitFor();
  await settled(page);
  await page.keyboard.press('Escape');
  await file().waitFor({ state: 'detached' });
  assert.match(page.url(), /\/p\/colloquy\/\d+$/);
  await page.goBack();
  await file().waitFor();
  await page.getByRole('button', { name: 'Close the file' }).click();
  await file().waitFor({ state: 'detached' });
  // The keyboard opens it as well, and gets the focus back.
  const cited = answers(page).locator('a.cite').first();
  await cited.focus();
  await page.keyboard.press('Enter');
  await file().waitFor();
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => document.activeElement?.matches('a.cite'));
});

test('a question is answered with a click, once', async () => {
  await say(page, 'ask me');
  await card().getByRole('button', { name: /read README\.md/ }).waitFor();
  await settled(page);
  assert.equal(await page.getByRole('button', { name: 'Stop the answer' }).count(), 0);
  assert.deepEqual(await complaints(page), [], 'an open question');
  await card().getByRole('button', { name: /read README\.md/ }).click();
  await page.getByText('Answered', { exact: true }).waitFor();
  await settled(page);
  assert.equal((await bubbles(page)).at(-1), 'read README.md');
  assert.match(await newest(page), /You chose: read README\.md[^]*The file has/);
  assert.equal(await card().getByRole('button', { name: /list files/ }).isDisabled(), true);
  assert.equal(await card().locator('[aria-pressed=true]').innerText().then((text) => text.split('\n')[0]), 'read README.md');
  await answers(page).last().locator('summary').first().click();
  await answers(page).last().getByRole('link', { name: 'Open the file' }).click();
  await file().getByText('Colloquy').first().waitFor();
  await page.keyboard.press('Escape');
  assert.deepEqual(await complaints(page), [], 'an answered question');
});

test('a reload shows the same: words, calls, the question and its answer', async () => {
  const before = { said: await bubbles(page), answers: await answers(page).locator('.prose').allInnerTexts(), cards: await page.locator('details summary').count() };
  await page.reload();
  await page.getByText('Answered', { exact: true }).waitFor();
  await settled(page);
  assert.deepEqual(await bubbles(page), before.said);
  assert.deepEqual(await answers(page).locator('.prose').allInnerTexts(), before.answers);
  assert.equal(await page.locator('details summary').count(), before.cards);
  await page.waitForFunction(() => document.title.startsWith('search "pub enum Principal"'));
});

test('a question waits over a reload, and own words answer it', async () => {
  await say(page, 'ask me');
  await card().last().getByRole('button', { name: /list files/ }).waitFor();
  await page.reload();
  const own = card().last().getByLabel('Your own words');
  await own.fill('count to 3');
  await own.press('Enter');
  await settled(page);
  assert.equal((await bubbles(page)).at(-1), 'count to 3');
  assert.match(await newest(page), /1 2 3$/);
});

test('two windows see one answer, and the second answer is refused in words', async () => {
  await say(page, 'ask me');
  await card().last().getByRole('button', { name: /list files/ }).waitFor();
  await settled(page);
  const other = await window.context.newPage();
  await other.goto(page.url());
  const there = other.getByRole('form', { name: 'A question to you' });
  await there.waitFor();
  // What the other window says is under way for a long time.
  let arrive;
  const arrived = new Promise((done) => (arrive = done));
  await other.route('**/answer', async (route) => {
    await arrived;
    await route.continue();
  });
  await there.getByRole('button', { name: /search main/ }).click();
  await card().last().getByRole('button', { name: /list files/ }).click();
  await page.waitForFunction(() => [...document.querySelectorAll('.bubble')].at(-1)?.textContent === 'list files');
  await settled(page);
  arrive();
  await other.getByText('The question was answered before.').waitFor();
  await settled(other);
  for (const one of [page, other]) assert.equal((await bubbles(one)).at(-1), 'list files');
  await other.close();
  window.forgive(/status of 409/);
});

test('stop ends the answer and keeps its text', async () => {
  await say(page, 'count to 200 slowly');
  await countedTo(page, 3);
  await page.getByRole('button', { name: 'Stop the answer' }).click();
  await page.getByText('Stopped.', { exact: true }).last().waitFor();
  await settled(page);
  assert.match(await newest(page), /^1 2 3/);
});

test('names and deletion, from the project and from the conversation', async () => {
  await page.getByRole('button', { name: 'Options for this conversation' }).click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByLabel('Name of the conversation').fill('About principals');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'About principals' }).waitFor();
  await page.getByRole('link', { name: 'colloquy' }).last().click();
  await page.waitForURL(/\/p\/colloquy$/);
  await page.getByRole('link', { name: /About principals/ }).waitFor();
  assert.deepEqual(await complaints(page), [], 'the list of a project');
  await say(page, 'list files in docs');
  await page.waitForURL(/\/p\/colloquy\/\d+$/);
  await settled(page);
  const gone = page.url();
  await page.getByRole('button', { name: 'Options for this conversation' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.waitForURL(/\/p\/colloquy$/);
  const rows = page.locator('main').getByRole('listitem');
  await page.getByRole('link', { name: /About principals/ }).focus();
  await page.keyboard.press('F2');
  await page.getByLabel('Name of the conversation').fill('Principals');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: /^Principals/ }).waitFor();
  assert.equal(await rows.count(), 1);
  await page.goto(gone);
  await page.getByRole('heading', { name: 'There is no such conversation' }).waitFor();
  window.forgive(/status of 404/);
});

test('what cannot be shown says why', async () => {
  await page.goto(`${server.url}/p`);
  await page.getByLabel('Folder on the server').fill(folder);
  await page.getByLabel('Name', { exact: true }).fill('pears');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.waitForURL(/\/p\/pears$/);
  for (const [path, words] of [['image.bin', /binary file/], ['missing.rs', /not found/i], ['../secret', /./]]) {
    await page.goto(`${server.url}/p/pears?file=${encodeURIComponent(path)}`);
    await page.getByRole('alert').getByText(words).first().waitFor();
  }
  window.forgive(/status of 404/);
  await page.goto(`${server.url}/p/pears?file=README.md&line=40`);
  await page.getByText('The file has only 1 lines now.').waitFor();
  await page.goto(`${server.url}/p/nothing`);
  await page.getByRole('heading', { name: 'There is no such project' }).waitFor();
  window.forgive(/status of 404/);
});

test('a project is removed from the list, and its folder stays', async () => {
  await nav().getByRole('link', { name: 'pears' }).click();
  await page.getByRole('heading', { level: 1, name: 'pears' }).waitFor();
  await page.getByRole('button', { name: 'Options for this project' }).click();
  await page.getByRole('menuitem', { name: 'Remove from the list' }).click();
  await page.waitForURL(/\/p$/);
  assert.equal(await nav().getByRole('link', { name: 'pears' }).count(), 0);
  assert.equal(readFileSync(join(folder, 'README.md'), 'utf8'), '# Pears\n');
});

test('a broken connection leaves no gap', async () => {
  const far = await open(browser, { broken: true });
  await signInAgain(far, proxy.url);
  const there = far.page;
  await there.goto(`${proxy.url}/p/colloquy`);
  await there.locator('#message').waitFor();
  await say(there, 'count to 40 slowly');
  await countedTo(there, 4);
  proxy.cut();
  await there.getByText('Reconnecting…').waitFor();
  proxy.mend();
  await countedTo(there, 40);
  await settled(there);
  await assertCounted(there, 1, 40);
  await far.close();
});

test('on a phone the file covers the conversation, and nothing is wider than the page', async () => {
  const phone = await open(browser, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: 'dark', reducedMotion: 'reduce' });
  await signInAgain(phone, server.url);
  const small = phone.page;
  const fits = async (what) => {
    assert.ok((await small.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, what);
    assert.deepEqual(await complaints(small), [], what);
  };
  await small.goto(`${server.url}/p`);
  await small.getByLabel('Folder on the server').waitFor();
  await fits('the projects');
  await small.goto(`${server.url}/p/colloquy`);
  await small.getByRole('link', { name: /^Principals/ }).waitFor();
  await fits('a project');
  await small.getByRole('link', { name: /^Principals/ }).click();
  await small.getByText('Answered', { exact: true }).first().waitFor();
  await settled(small);
  await fits('a conversation');
  const cited = answers(small).locator('a.cite').first();
  await cited.scrollIntoViewIfNeeded();
  await cited.click();
  await small.getByRole('region', { name: /^Text of / }).waitFor();
  await fits('a file');
  assert.equal(await small.locator('#message').isVisible().then(() => small.locator('.main').evaluate((node) => node.inert)), true);
  await small.getByRole('button', { name: 'Close the file' }).click();
  await small.getByRole('region', { name: /^Text of / }).waitFor({ state: 'detached' });
  await small.getByRole('button', { name: 'Open the list of conversations' }).click();
  await small.getByRole('navigation', { name: 'Projects' }).waitFor();
  await fits('the list');
  await phone.close();
});
