// From a question to a chart to a CSV file, with the sample data and the demo model.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { complaints, launch, open, signIn } from '../lib/browser.mjs';
import { Server } from '../lib/server.mjs';

let server, browser, window, page;
before(async () => {
  server = await Server.start();
  browser = await launch();
  window = await open(browser, { acceptDownloads: true });
  page = window.page;
  await signIn(window, server);
});
after(async () => {
  await window?.close();
  await browser?.close();
  await server?.stop();
});

const result = () => page.getByRole('region', { name: 'Result', exact: true });

test('the page shows what there is to ask about', async () => {
  await page.getByRole('link', { name: 'Data', exact: true }).click();
  await page.waitForURL(/\/data$/);
  await page.locator('#rule').waitFor();
  const model = page.getByRole('region', { name: 'Data model' });
  await model.getByText('patterns', { exact: true }).click();
  await model.getByText('created_at').first().waitFor();
  await page.getByRole('button', { name: /Organisations by stage/ }).waitFor();
  assert.deepEqual(await complaints(page), []);
});

test('a rule is previewed, approved, drawn, and its rows are a CSV file', async () => {
  await page.locator('#rule').fill('Patterns by kind');
  await page.locator('#rule').press('Enter');
  await page.waitForURL(/\/data\/patterns_by_kind$/);
  await result().getByText('A preview: nothing is stored yet.').waitFor();
  assert.match(await result().locator('code').innerText(), /GROUP BY/);
  assert.match(await result().innerText(), /demo model wrote this/);
  await page.getByRole('button', { name: 'Approve and store' }).click();
  const csv = page.getByRole('link', { name: 'All rows as CSV' });
  await csv.waitFor();
  await result().getByRole('img', { name: /anti-pattern: 3; pattern: 5/ }).waitFor();
  await result().getByRole('cell', { name: 'anti-pattern' }).waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), csv.click()]);
  assert.equal(download.suggestedFilename(), 'rule_patterns_by_kind.csv');
  const text = readFileSync(await download.path(), 'utf8');
  assert.equal(text, '\ufeffkind,patterns\r\nanti-pattern,3\r\npattern,5\r\n');
  assert.deepEqual(await complaints(page), []);
});

test('rows are sorted by the server and filtered here, by keyboard as well', async () => {
  const header = result().getByRole('button', { name: /^patterns/ });
  await header.focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('tbody tr td')?.textContent === 'pattern');
  await page.getByPlaceholder('Filter rows').fill('anti');
  await result().getByText('1 of 2 loaded rows').waitFor();
  await page.getByPlaceholder('Filter rows').fill('');
});

test('a refresh is a run, and says what has changed', async () => {
  await page.getByRole('button', { name: 'Refresh' }).click();
  const runs = page.getByRole('region', { name: 'Runs' });
  await runs.getByText('same number').waitFor();
});

test('a question of the model is answered with a click', async () => {
  await page.locator('#rule').fill('the meaning of it all');
  await page.locator('#rule').press('Enter');
  const question = page.getByRole('region', { name: 'Question' });
  await question.getByRole('button', { name: 'Guests per pattern' }).click();
  await result().getByText('A preview: nothing is stored yet.').waitFor();
});

test("a person's own SQL meets the same guard", async () => {
  await page.getByRole('button', { name: 'Approve and store' }).click();
  await page.getByRole('link', { name: 'All rows as CSV' }).waitFor();
  await result().getByText('SQL', { exact: true }).click();
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.locator('#sql').fill('delete from patterns');
  await page.getByRole('button', { name: 'Check and keep' }).click();
  await page.getByText(/only a query is allowed/).first().waitFor();
  window.forgive(/422/);
  await page.locator('#sql').fill('select name from guests order by name');
  await page.getByRole('button', { name: 'Check and keep' }).click();
  await result().getByRole('cell', { name: 'Dele Akinola' }).waitFor();
});

test('a reload shows the same', async () => {
  await page.reload();
  await result().getByRole('cell', { name: 'Dele Akinola' }).waitFor();
});

test('the audit log names what was refused; all of it fits a phone', async () => {
  await page.getByText('Audit log').click();
  const refused = page.getByRole('listitem').filter({ hasText: 'delete from patterns' });
  await refused.getByText('forbidden').waitFor();
  assert.deepEqual(await complaints(page), [], 'the audit log');
  const size = page.viewportSize();
  await page.setViewportSize({ width: 390, height: 800 });
  await page.locator('#rule').waitFor();
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(tooWide <= 0, `the page is ${tooWide} px wider than the phone`);
  assert.deepEqual(await complaints(page), [], 'on a phone');
  await page.setViewportSize(size);
});

test('a rule is deleted only when it is asked twice', async () => {
  await page.getByRole('button', { name: 'Delete the rule' }).click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  await page.getByRole('button', { name: 'Delete the rule' }).click();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.waitForURL(/\/data$/);
  const rules = page.getByRole('region', { name: 'Rules', exact: true });
  await rules.getByRole('button', { name: /Patterns by kind/ }).waitFor();
  assert.equal(await rules.getByRole('button', { name: /Guests per pattern|the meaning/ }).count(), 0);
});
