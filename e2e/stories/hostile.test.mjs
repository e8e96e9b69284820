import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { launch, open, signIn } from '../lib/browser.mjs';
import { answers, bubbles, questions, row, say, settled } from '../lib/page.mjs';
import { Server } from '../lib/server.mjs';

// Whoever is asked here has won.
const collector = createServer((request, response) => {
  hits.push(request.url);
  response.end();
});
const hits = [];
collector.listen(0, '127.0.0.1');
await once(collector, 'listening');
const evil = `127.0.0.1:${collector.address().port}`;

const PAYLOADS = [
  `<script>fetch('//${evil}/1')</script>`,
  `<img src=//${evil}/2 onerror=alert(2)>`,
  `<svg onload=alert(3)><image href=//${evil}/3>`,
  `<iframe srcdoc="<script>alert(4)</script>" src=//${evil}/4></iframe>`,
  `<link rel=stylesheet href=//${evil}/5><style>@import '//${evil}/5b'</style>`,
  `<a href="javascript:alert(6)">x</a> [x](javascript:alert(6))`,
  `![x](http://${evil}/7.png) ![y][r]`,
  `[r]: http://${evil}/8.png`,
  `<form action=//${evil}/9><input autofocus onfocus=alert(9)></form>`,
  `</textarea></div><details open ontoggle=alert(10)>`,
  `<meta http-equiv=refresh content="0;url=//${evil}/11"><base href=//${evil}/>`,
  `<object data=//${evil}/12></object><embed src=//${evil}/12b><video src=//${evil}/12c>`,
  `{{constructor.constructor('alert(13)')()}} \${alert(13)} {@html '<img src=//${evil}/13>'}`,
  `<title>gotcha</title><div style="position:fixed;inset:0;background:url(//${evil}/14)">`,
];

const FILES = {
  // A file of Markdown comes back as a fenced block, a name as code: both through the Markdown renderer.
  'attack.md': PAYLOADS.slice(0, 10).join('\n'),
  'more.md': PAYLOADS.slice(10).join('\n'),
  '<img src=x onerror=alert(1)>.txt': 'x',
  '`![x](http:example.test%2fx.png) <b>bold</b>.txt': 'y',
};

let server, browser, window, page;
before(async () => {
  server = await Server.start({}, FILES);
  browser = await launch();
  window = await open(browser);
  page = window.page;
  await signIn(window, server);
});
after(async () => {
  await window?.close();
  await browser?.close();
  await server?.stop();
  collector.close();
});

/** Nothing of what was written became a part of the page. */
async function assertInert() {
  const strange = await page.evaluate(() => {
    const found = [];
    for (const node of document.querySelectorAll('body *')) {
      if (/^(script|img|iframe|object|embed|video|audio|form|link|meta|base|style|image|title)$/i.test(node.localName) && !node.matches('body > script, form:has(> textarea)')) found.push(node.localName);
      for (const { name, value } of node.attributes) {
        if (/^on/i.test(name)) found.push(`${node.localName} ${name}`);
        if (name === 'href' && !/^(https?:|mailto:|\/|#)/.test(value)) found.push(`${node.localName} href ${value}`);
        if (name === 'style' && node.closest('.prose, .bubble, pre')) found.push(`${node.localName} style`);
      }
    }
    return found;
  });
  assert.deepEqual(strange, []);
  assert.deepEqual(hits, []);
}

test('attacks in messages and titles are text', async () => {
  for (const payload of PAYLOADS) {
    await page.goto(server.url);
    await page.locator('#message').waitFor();
    await say(page, payload);
    await page.waitForURL(/\/c\//);
    await settled(page);
    assert.deepEqual(await bubbles(page), [payload]);
    await page.waitForFunction(() => document.querySelector('h1')?.textContent !== 'New Chat' && document.querySelector('h1')?.textContent !== 'New Conversation');
    assert.equal((await page.title()).endsWith('· Colloquy'), true);
    await assertInert();
  }
});

test('attacks in file names, in what tools find and in what is told about it are text', async () => {
  await page.goto(server.url);
  await say(page, 'list files');
  await page.waitForURL(/\/c\//);
  await settled(page);
  await say(page, 'read attack.md and more.md');
  await settled(page);
  await say(page, 'grep alert|evil|src');
  await settled(page);
  await say(page, 'read "<img src=x onerror=alert(1)>.txt"');
  await settled(page);
  for (const summary of await answers(page).locator('details summary').all()) await summary.click();
  assert.ok((await answers(page).allInnerTexts()).join('').includes('<script>'));
  await assertInert();
  await page.reload();
  await settled(page);
  await assertInert();
});

test('attacks in a name given by hand and in the search are text', async () => {
  for (const title of [`<img src=//${evil}/t onerror=alert(1)>`, '"><svg onload=alert(1)>', '</title><script>alert(1)</script>']) {
    await page.getByRole('button', { name: 'Options for this conversation' }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await page.getByLabel('Name of the conversation').fill(title);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: title }).waitFor();
    await row(page, title).waitFor();
    await assertInert();
  }
  await page.keyboard.press('ControlOrMeta+k');
  for (const query of ['script', 'onerror', '<img', 'alert']) {
    await page.getByRole('combobox', { name: 'Search' }).fill(query);
    await page.waitForFunction((words) => document.querySelector('#hits mark') && document.querySelector('[role=combobox]').value === words, query);
    await assertInert();
  }
  await page.keyboard.press('Escape');
  assert.ok((await questions(page).count()) > 0);
});

test('the page may not be framed, and may ask nobody else', async () => {
  const response = await page.request.get(server.url, { headers: { accept: 'text/html' } });
  const policy = response.headers()['content-security-policy'];
  for (const rule of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    assert.ok(policy.includes(rule), rule);
  }
  assert.equal(/unsafe/.test(policy), false);
  // The policy holds: an attempt is stopped by the browser.
  const stopped = await page.evaluate(
    (host) => fetch(`http://${host}/x`, { mode: 'no-cors' }).then(() => 'asked', () => 'stopped'),
    evil,
  );
  assert.equal(stopped, 'stopped');
  assert.deepEqual(hits, []);
  await page.waitForTimeout(300);
  window.forgive(/policy|Refused|Content Security|request to|Fetch API/);
});
