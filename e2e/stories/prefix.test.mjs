import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, open } from '../lib/browser.mjs';
import { assertCounted, say, settled } from '../lib/page.mjs';
import { Prefix } from '../lib/prefix.mjs';
import { Server } from '../lib/server.mjs';

let front, server, browser;
before(async () => {
  front = await Prefix.start('/team/colloquy');
  server = await Server.start({ COLLOQUY_PUBLIC_URL: front.url });
  front.to(server.url);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await front?.stop();
});

test('everything works under a path', async () => {
  const window = await open(browser);
  const { page } = window;
  window.allow(front.url);
  await page.goto(`${front.url}/${new URL(server.link).hash}`);
  await page.locator('#message').waitFor();
  await say(page, 'count to 8 slowly');
  await page.waitForURL(/\/team\/colloquy\/c\/[0-9a-f-]{36}$/);
  await settled(page);
  await assertCounted(page, 1, 8);
  await page.reload();
  await settled(page);
  await assertCounted(page, 1, 8);
  await page.getByRole('link', { name: 'New conversation', exact: true }).click();
  await page.waitForURL(`${front.url}/`);
  await page.goBack();
  await settled(page);
  assert.ok(await page.evaluate(() => document.fonts.check('16px "Inter Variable"')));
  await window.close();
});
