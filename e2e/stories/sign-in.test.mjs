import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, open, signIn } from '../lib/browser.mjs';
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

/** Chromium notes every refused request in the console. */
const REFUSED = /status of 401/;

test('the link signs in once, and its code leaves the address', async () => {
  const first = await open(browser);
  await signIn(first, server);
  assert.equal(await first.page.evaluate(() => location.href), `${server.url}/`);
  await first.page.goBack();
  assert.equal(first.page.url().includes('code'), false);
  await first.page.goForward();
  await first.page.reload();
  await first.page.locator('#message').waitFor();
  await first.close();

  const second = await open(browser);
  second.allow(server.url);
  await second.page.goto(server.link);
  await second.page.getByRole('heading', { name: 'Sign in to Colloquy' }).waitFor();
  await second.page.getByText('has been used or is too old').waitFor();
  assert.equal(await second.page.evaluate(() => location.hash), '');
  second.forgive(REFUSED);
  await second.close();
});

test('the owner signs in with the token, and out again', async () => {
  const window = await open(browser);
  window.allow(server.url);
  await window.page.goto(server.url);
  const field = window.page.getByLabel("Owner's token");
  await field.fill('not the token');
  await field.press('Enter');
  await window.page.getByText('That is not a token of this server.').waitFor();

  await field.fill(server.token());
  await field.press('Enter');
  await window.page.locator('#message').waitFor();
  assert.equal(await window.page.title(), 'New conversation · Colloquy');

  await window.page.getByRole('button', { name: 'Sign out' }).click();
  await window.page.getByRole('heading', { name: 'Sign in to Colloquy' }).waitFor();
  await window.page.reload();
  await window.page.getByRole('heading', { name: 'Sign in to Colloquy' }).waitFor();
  window.forgive(REFUSED);
  await window.close();
});
