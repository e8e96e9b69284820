import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { complaints, launch, open, signIn } from '../lib/browser.mjs';
import { answers, bubbles, countedTo, questions, row, say, settled } from '../lib/page.mjs';
import { Server } from '../lib/server.mjs';

let server, browser;
before(async () => {
  server = await Server.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function signedIn(options = {}) {
  const window = await open(browser, options);
  window.allow(server.url);
  const page = window.page;
  await page.goto(server.url);
  await page.getByLabel("Owner's token").fill(server.token());
  await page.keyboard.press('Enter');
  await page.locator('#message').waitFor();
  window.forgive(/status of 401/);
  return { window, page };
}

const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
const looks = [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['phone, light', { ...phone, colorScheme: 'light' }],
  ['phone, dark', { ...phone, colorScheme: 'dark' }],
];

for (const [name, options] of looks) {
  test(`axe finds nothing: ${name}`, async () => {
    const { window, page } = await signedIn({ ...options, reducedMotion: 'reduce' });
    const send = async (text) => {
      await page.locator('#message').fill(text);
      await page.getByRole('button', { name: /^Send/ }).click();
    };
    assert.deepEqual(await complaints(page), [], 'a new conversation');
    await send('read README.md and missing.txt');
    await settled(page);
    for (const card of await answers(page).locator('details summary').all()) await card.click();
    await send('think about birds');
    await settled(page);
    assert.deepEqual(await complaints(page), [], 'a conversation');
    await send('count to 60 slowly');
    await countedTo(page, 2);
    await send('list files');
    await questions(page).last().getByText('Queued').waitFor();
    assert.deepEqual(await complaints(page), [], 'an answer being written, and one that waits');
    await page.getByRole('button', { name: 'Stop the answer' }).click();
    await settled(page);
    if (options.isMobile) await page.getByRole('button', { name: 'Open the list of conversations' }).click();
    await row(page, 'read README.md').first().waitFor();
    assert.deepEqual(await complaints(page), [], 'the list');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('combobox', { name: 'Search' }).fill('birds');
    await page.locator('#hits [role=option]').first().waitFor();
    assert.deepEqual(await complaints(page), [], 'the search');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Options for this conversation' }).click();
    assert.deepEqual(await complaints(page), [], 'the menu');
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    assert.deepEqual(await complaints(page), [], 'the question before deleting');
    await page.keyboard.press('Escape');

    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, 'nothing is wider than the page');
    await window.close();
  });

  test(`axe finds nothing on the sign-in page: ${name}`, async () => {
    const window = await open(browser, options);
    window.allow(server.url);
    await window.page.goto(server.url);
    await window.page.getByLabel("Owner's token").fill('x');
    await window.page.keyboard.press('Enter');
    await window.page.getByText('That is not a token of this server.').waitFor();
    assert.deepEqual(await complaints(window.page), []);
    window.forgive(/status of 401/);
    await window.close();
  });
}

test('everything with the keyboard alone', async () => {
  const { window, page } = await signedIn();
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.getAttribute('aria-label') || document.activeElement?.textContent?.trim().replace(/\s+/g, ' '));
  const press = (key) => page.keyboard.press(key);

  // The field has the focus; Shift and Enter begin a line, Enter sends.
  assert.equal(await focused(), 'message');
  await page.keyboard.type('list files');
  await press('Shift+Enter');
  await page.keyboard.type('please');
  await press('Enter');
  await settled(page);
  assert.deepEqual(await bubbles(page), ['list files\nplease']);
  assert.equal(await focused(), 'message');

  // Escape stops.
  await page.keyboard.type('count to 300 slowly');
  await press('Enter');
  await countedTo(page, 2);
  await press('Escape');
  await settled(page);
  await answers(page).last().getByText('Stopped.').waitFor();

  // The card opens with Enter.
  await answers(page).first().locator('summary').focus();
  await press('Enter');
  await answers(page).first().getByRole('group', { name: 'Output' }).waitFor();

  // A second conversation, and the list with the arrow keys.
  await press('ControlOrMeta+Shift+o');
  await page.getByRole('heading', { name: 'What is on your mind?' }).waitFor();
  assert.equal(await focused(), 'message');
  await page.keyboard.type('read notes.txt');
  await press('Enter');
  await settled(page);
  // The row says so for as long as an answer is written, and learns a little later that it is whole.
  await page.waitForFunction(() => !document.querySelector('nav[aria-label="Conversations"]')?.textContent.includes('answering'));
  await row(page, 'read notes.txt').focus();
  await press('ArrowDown');
  assert.equal(await focused(), 'list files please');
  await press('ArrowUp');
  assert.equal(await focused(), 'read notes.txt');
  await press('End');
  await press('Home');
  assert.equal(await focused(), 'read notes.txt');

  // Rename with F2; Escape leaves it as it is.
  await press('F2');
  await page.keyboard.type('Notes');
  await press('Escape');
  assert.equal(await focused(), 'read notes.txt');
  await press('F2');
  await page.keyboard.type('Notes');
  await press('Enter');
  await row(page, 'Notes').waitFor();

  // The search opens, closes, and gives the focus back.
  await press('ControlOrMeta+k');
  await page.keyboard.type('gamma');
  await page.locator('#hits [role=option]').first().waitFor();
  await press('Escape');
  assert.equal(await focused(), 'Notes');

  // Delete asks, and the harmless choice has the focus.
  await press('Delete');
  assert.equal(await focused(), 'Keep it');
  await press('Tab');
  await press('Enter');
  await page.getByRole('heading', { name: 'What is on your mind?' }).waitFor();
  assert.equal(await row(page, 'Notes').count(), 0);

  // The first stop of the Tab key skips the list.
  await page.getByRole('link', { name: 'Colloquy, new conversation' }).focus();
  await press('Shift+Tab');
  assert.equal(await focused(), 'Skip to the message field');
  await press('Enter');
  assert.equal(await focused(), 'message');
  await window.close();
});

test('a screen reader is told about an answer once, not about its pieces', async () => {
  const { window, page } = await signedIn();
  await say(page, 'list files');
  await settled(page);
  await page.evaluate(() => {
    window.told = [];
    const region = document.querySelector('[role=status][aria-live=polite]');
    new MutationObserver(() => window.told.push(region.textContent.trim())).observe(region, { childList: true, characterData: true, subtree: true });
  });
  await say(page, 'count to 10 slowly');
  await page.waitForFunction(() => window.told.length >= 2);
  assert.deepEqual(await page.evaluate(() => window.told), ['Answering.', 'Answer: 1 2 3 4 5 6 7 8 9 10']);
  await window.close();
});

test('on a phone the list is a drawer that closes behind a choice', async () => {
  const { window, page } = await signedIn(phone);
  await page.locator('#message').fill('read notes.txt');
  await page.getByRole('button', { name: 'Send' }).click();
  await settled(page);
  const list = page.getByRole('navigation', { name: 'Conversations' });
  assert.equal(await list.isVisible(), false);
  await page.getByRole('button', { name: 'Open the list of conversations' }).click();
  await list.waitFor();
  await page.keyboard.press('Escape');
  await list.waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Open the list of conversations' }).click();
  await row(page, 'read notes.txt').first().click();
  await list.waitFor({ state: 'hidden' });
  await window.close();
});
