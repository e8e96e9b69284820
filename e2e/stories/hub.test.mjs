import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { complaints, launch, open, signIn } from '../lib/browser.mjs';
import { Proxy } from '../lib/proxy.mjs';
import { Server } from '../lib/server.mjs';
import { Telegram } from '../lib/telegram.mjs';

const BOT = '7000000001:AAabcdefghijklmnopqrstuvwxyz0123456';
/** One grey pixel. */
const PICTURE = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==', 'base64');
/** Chromium notes every refused request in the console. */
const REFUSED = /status of (401|409|422)/;

let browser, telegram, server;
before(async () => (browser = await launch()));
after(async () => browser?.close());
beforeEach(async () => {
  telegram = await Telegram.start(BOT);
  server = await Server.start({ COLLOQUY_EGRESS_ALLOW: telegram.host });
});
afterEach(async () => {
  await server?.stop();
  await telegram?.stop();
  assert.deepEqual(telegram?.violations, [], 'Telegram would not have taken it');
});

const rows = (page) => page.getByRole('region', { name: 'Messages' }).locator('article');
const row = (page, text) => rows(page).filter({ hasText: text });
const inList = (page, name) => page.getByRole('navigation', { name: 'Chats' }).getByRole('link', { name });
/** Everything that is said, in order, and who says it. */
const said = (page) =>
  rows(page).evaluateAll((all) => all.map((one) => `${one.querySelector('h3').textContent}: ${one.querySelector('.bubble').textContent}`));
const settledIn = (page, text, words) => row(page, text).getByText(words, { exact: true }).waitFor();

async function openInbox(page) {
  await page.getByRole('link', { name: 'Inbox', exact: true }).click();
  await page.getByRole('heading', { name: 'Inbox' }).waitFor();
}

async function connectBot(page, address) {
  await page.getByRole('link', { name: 'Connect a channel' }).first().click();
  await page.getByLabel('Name').fill('Shop bot');
  await page.getByLabel('Bot token').fill(BOT);
  if (!(await page.getByLabel('Public address of this server').isVisible())) await page.getByText('More', { exact: true }).click();
  if (address) await page.getByLabel('Public address of this server').fill(address);
  await page.getByLabel("Address of the platform's API").fill(telegram.url);
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await page.getByRole('heading', { name: 'Shop bot' }).waitFor();
}

async function makeAgent(page) {
  await page.getByRole('link', { name: 'Agents', exact: true }).first().click();
  await page.getByRole('button', { name: 'New agent' }).click();
  await page.getByLabel('Name').fill('Help');
  await page.getByLabel('Instructions').fill('Count when you are asked to.');
  await page.getByLabel(/quiet for so many seconds/).fill('0');
  await page.getByRole('button', { name: 'Create the agent' }).click();
  await page.getByRole('region', { name: 'Help' }).waitFor();
}

test('from an empty server: sign up, connect a bot, watch the agent, take over, hand back, send again', async () => {
  const window = await open(browser);
  window.allow(server.url);
  const { page } = window;
  await page.goto(server.url);

  // The first account needs the owner's token.
  await page.getByRole('button', { name: 'Create the first account' }).click();
  await page.getByLabel("Owner's token").fill('not the token');
  await page.getByLabel('Name').fill('ana');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.keyboard.press('Enter');
  await page.getByText('That is not the owner’s token of this server.').waitFor();
  assert.deepEqual(await complaints(page), [], 'the first sign-up');
  await page.getByLabel("Owner's token").fill(server.token());
  await page.keyboard.press('Enter');
  await page.locator('#message').waitFor();
  await page.getByText('ana', { exact: true }).waitFor();

  // A channel: what is wrong is said at its field, and nothing is made.
  await openInbox(page);
  await page.getByRole('heading', { name: 'Nothing is connected yet' }).waitFor();
  assert.deepEqual(await complaints(page), [], 'an empty inbox');
  await page.getByRole('link', { name: 'Connect a channel' }).first().click();
  await page.getByLabel('Name').fill('Shop bot');
  await page.getByLabel('Bot token').fill(BOT);
  await page.getByText('More', { exact: true }).click();
  await page.getByLabel("Address of the platform's API").fill('http://10.0.0.1');
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await page.getByRole('alert').getByText('address not allowed').waitFor();
  assert.deepEqual(await complaints(page), [], 'the form');
  await connectBot(page, server.url);
  await page.getByText('Telegram: Connected').waitFor();
  const address = await page.getByLabel('Address for the platform').inputValue();
  assert.match(address, /^http:\/\/127\.0\.0\.1:\d+\/webhooks\/inbound\/telegram\/channel_\w+$/);
  assert.deepEqual(await complaints(page), [], 'the channel');
  while (!telegram.webhook) await page.waitForTimeout(50);
  assert.equal(telegram.webhook.url, address);
  const forged = await telegram.knock({ update_id: 1, message: { message_id: 1, from: { id: 1 }, chat: { id: 1 }, text: 'x' } }, 'wrong');
  assert.equal(forged.status, 403);

  await makeAgent(page);
  assert.deepEqual(await complaints(page), [], 'the agents');

  // A contact writes, and the agent answers.
  await openInbox(page);
  await telegram.say('count to 3');
  await inList(page, /Zoe/).click();
  await settledIn(page, '1 2 3', 'Sent');
  assert.deepEqual(await said(page), ['Zoe: count to 3', 'Agent Help: 1 2 3']);
  assert.deepEqual(telegram.sent, ['1 2 3']);
  await page.getByText('The agent answers here.').waitFor();
  await inList(page, /unread/).waitFor({ state: 'detached' });
  assert.deepEqual(await complaints(page), [], 'a chat');

  // Taken over while the agent is answering: what it was about to say is not sent.
  await telegram.say('count to 90 slowly');
  await page.getByText('The agent is answering…').waitFor();
  await page.getByRole('button', { name: 'Take over' }).click();
  await page.getByText(/^You have taken over until/).waitFor();
  await telegram.say('is a person there?');
  await row(page, 'is a person there?').waitFor();
  await telegram.show(PICTURE, 'it looks like this');
  const picture = row(page, 'it looks like this').getByRole('img');
  await picture.waitFor();
  assert.equal(await picture.evaluate((image) => image.decode().then(() => image.naturalWidth)), 1, 'the picture is shown');
  await page.locator('#message').fill('Yes, Ana. **How** can I help?');
  await page.locator('#message').press('Enter');
  await settledIn(page, 'Yes, Ana', 'Sent');
  assert.deepEqual(telegram.sent, ['1 2 3', 'Yes, Ana. <b>How</b> can I help?']);
  assert.deepEqual((await said(page)).slice(2), ['Zoe: count to 90 slowly', 'Zoe: is a person there?', 'Zoe: it looks like this', 'You: Yes, Ana. **How** can I help?']);

  // Handed back, the agent answers what comes next.
  await page.getByRole('button', { name: 'Hand back' }).click();
  await page.getByText('The agent answers here.').waitFor();
  await telegram.say('count to 4');
  await settledIn(page, '1 2 3 4', 'Sent');

  // A canned reply is written once, found by a stroke, filled in, and may be changed before it is sent.
  await page.getByRole('link', { name: 'Replies' }).click();
  await page.getByLabel('Title').fill('Greeting');
  await page.getByLabel('Shortcut').fill('hi');
  await page.getByLabel('Text', { exact: true }).fill('Hello {first_name}, {me} here.');
  await page.getByRole('button', { name: 'Add the reply' }).click();
  await page.getByRole('region', { name: 'Greeting' }).waitFor();
  assert.deepEqual(await complaints(page), [], 'the canned replies');
  await inList(page, /Zoe/).click();
  await row(page, '1 2 3 4').waitFor();
  await page.locator('#message').pressSequentially('/');
  const search = page.getByRole('combobox', { name: 'Search the canned replies' });
  await search.fill('gree');
  await page.getByRole('option', { name: /Greeting/ }).waitFor();
  assert.deepEqual(await complaints(page), [], 'the list of canned replies');
  await search.press('Escape');
  assert.equal(await page.locator('#message').inputValue(), '/gree', 'who goes back has meant the stroke');
  await page.locator('#message').fill('');
  await page.getByRole('button', { name: 'Canned replies' }).click();
  await search.press('Enter');
  assert.equal(await page.locator('#message').inputValue(), 'Hello Zoe, ana here.');
  await page.locator('#message').pressSequentially(' Hm.');
  await page.locator('#message').press('Enter');
  await settledIn(page, 'ana here. Hm.', 'Sent');

  // A note stands in its place, is changed, and goes to nobody.
  await page.getByRole('button', { name: 'Note', exact: true }).click();
  await page.locator('#message').fill('Pays late');
  await page.locator('#message').press('Enter');
  await row(page, 'Pays late').getByText('Only your team sees this').waitFor();
  assert.deepEqual(await complaints(page), [], 'a note');
  await row(page, 'Pays late').getByRole('button', { name: 'Edit the note' }).click();
  await page.getByLabel('Note', { exact: true }).first().fill('Pays in time');
  await rows(page).getByRole('button', { name: 'Store' }).click();
  await row(page, 'Pays in time').getByText('Edited').waitFor();
  await page.getByRole('button', { name: 'Reply', exact: true }).click();
  assert.deepEqual((await said(page)).slice(-2), ['You: Hello Zoe, ana here. Hm.', 'Note by you: Pays in time']);
  assert.deepEqual(telegram.sent.splice(3), ['Hello Zoe, ana here. Hm.']);

  // Told to wait, it waits; refused for good, it says why, and is sent again as the same message.
  telegram.refuse(429, 'Too Many Requests: retry after 1', { retry_after: 1 });
  await page.locator('#message').fill('This one has to wait.');
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await settledIn(page, 'has to wait', 'Sent');
  telegram.refuse(400, 'Bad Request: message text is not nice');
  await page.locator('#message').fill('Your parcel is on its way.');
  await page.locator('#message').press('Enter');
  await row(page, 'parcel').getByText('Not delivered. Bad Request: message text is not nice (400)').waitFor();
  await page.getByText('Somebody has to look at this chat.').waitFor();
  assert.deepEqual(await complaints(page), [], 'a message that failed');
  await page.getByText('Details', { exact: true }).click();
  await page.getByText('A message could not be sent').first().waitFor();
  assert.deepEqual(await complaints(page), [], 'the details');
  await page.getByText('Details', { exact: true }).click();
  await row(page, 'parcel').getByRole('button', { name: 'Send again' }).click();
  await settledIn(page, 'parcel', 'Sent');
  assert.deepEqual(telegram.sent.slice(2), ['1 2 3 4', 'This one has to wait.', 'Your parcel is on its way.']);

  // The channel's page shows what came and went, and sends a test.
  await page.getByRole('link', { name: 'Settings of Shop bot' }).click();
  const last = page.getByRole('region', { name: 'Last deliveries' });
  await last.getByText('Invalid signature').waitFor();
  assert.equal(await last.getByRole('listitem').filter({ hasText: 'Zoe' }).count() > 8, true);
  await page.getByLabel('To', { exact: true }).fill('4711');
  await page.getByRole('button', { name: 'Send the test' }).click();
  await page.getByText(/^The platform took it in \d+ ms/).waitFor();
  assert.equal(telegram.sent.at(-1), 'This is a test.');
  telegram.refuse(400, 'Bad Request: chat not found');
  await page.getByRole('button', { name: 'Send the test' }).click();
  await page.getByText('The platform did not take it: Bad Request: chat not found (400)').waitFor();
  assert.deepEqual(await complaints(page), [], 'the console');
  await page.getByRole('link', { name: 'Agents', exact: true }).first().click();
  await page.getByText('Test call').click();
  await page.getByLabel('Question').fill('count to 5');
  await page.getByRole('button', { name: 'Call it' }).click();
  await page.getByText('1 2 3 4 5', { exact: true }).waitFor();
  assert.deepEqual(await complaints(page), [], 'a test call');
  await page.goBack();
  await page.goBack();
  await row(page, 'parcel').waitFor();

  // What is kept is what was shown. Notes that come later than the messages do not push them out of their place.
  const shown = await said(page);
  assert.ok(shown.includes('Note by you: Pays in time'), shown.join('\n'));
  await page.route('**/notes*', async (route) => {
    await new Promise((done) => setTimeout(done, 300));
    await route.continue();
  });
  await page.reload();
  await row(page, 'parcel').waitFor();
  assert.deepEqual(await said(page), shown);
  window.forgive(REFUSED);
  await window.close();
});

test('a bot that is asked for its messages; a cut connection leaves no gap and no double', async () => {
  const proxy = await Proxy.start();
  await server.stop();
  server = await Server.start({ COLLOQUY_EGRESS_ALLOW: telegram.host, COLLOQUY_ORIGINS: proxy.url });
  proxy.to(server.url);
  const window = await open(browser, { broken: true });
  const { page } = window;
  await signIn(window, server, proxy.url);
  await openInbox(page);
  await connectBot(page, null);
  await page.getByText('only this machine reaches it').waitFor();

  await openInbox(page);
  await telegram.say('one');
  await inList(page, /Zoe/).click();
  await row(page, 'one').waitFor();
  await page.getByText('No agent answers here.').waitFor();

  proxy.cut();
  await page.getByText('Reconnecting…').waitFor();
  await telegram.say('two');
  await telegram.say('Hello from Max', { id: 77, first_name: 'Max' });
  await page.locator('#message').fill('three');
  await page.locator('#message').press('Enter');
  await row(page, 'three').getByText('Sending…').waitFor();
  await page.waitForTimeout(1_500);
  proxy.mend();
  await settledIn(page, 'three', 'Sent');
  await row(page, 'two').waitFor();
  await inList(page, /Max/).waitFor();
  assert.deepEqual((await said(page)).sort(), ['You: three', 'Zoe: one', 'Zoe: two']);
  assert.deepEqual(telegram.sent, ['three']);

  // The search and the filter.
  await page.getByLabel('Search the chats').fill('Max');
  await inList(page, /Zoe/).waitFor({ state: 'detached' });
  await page.getByLabel('Search the chats').fill('');
  await inList(page, /Zoe/).waitFor();
  await page.getByLabel('Which chats').selectOption('attention');
  await page.getByText('Nothing needs attention.').waitFor();
  await window.close();
  await proxy.stop();
});

test('a member sees the inbox once let into a channel, and nothing to set up', async () => {
  const window = await open(browser);
  const { page } = window;
  await signIn(window, server);
  await openInbox(page);
  await connectBot(page, server.url);
  while (!telegram.webhook) await page.waitForTimeout(50);
  await telegram.say('hello');
  await page.getByRole('link', { name: 'People' }).click();
  await page.getByLabel('Name').fill('bea');
  await page.getByLabel('Password').fill('battery staple');
  await page.getByRole('button', { name: 'Create the account' }).click();
  await page.getByText('bea', { exact: true }).waitFor();

  const other = await open(browser);
  other.allow(server.url);
  await other.page.goto(server.url);
  await other.page.getByLabel('Name').fill('bea');
  await other.page.getByLabel('Password').fill('battery staple');
  await other.page.keyboard.press('Enter');
  await other.page.locator('#message').waitFor();
  assert.equal(await other.page.getByRole('link', { name: 'Inbox', exact: true }).count(), 0);

  await page.getByRole('link', { name: 'Settings of Shop bot' }).click();
  const granted = page.waitForResponse((answer) => answer.request().method() === 'PUT' && answer.url().includes('/permissions/'));
  await page.getByLabel('bea').check();
  assert.equal((await granted).status(), 200);
  await other.page.reload();
  await openInbox(other.page);
  await inList(other.page, /Zoe/).click();
  await row(other.page, 'hello').waitFor();
  assert.equal(await other.page.getByRole('link', { name: /^(Settings|Connect|Agents|People)/ }).count(), 0);
  await other.page.getByRole('button', { name: 'Take over' }).click();
  await other.page.getByText(/^You have taken over until/).waitFor();

  // The owner sees who has it, and makes the member responsible.
  await openInbox(page);
  await inList(page, /Zoe/).click();
  await page.getByText(/^bea has taken over/).waitFor();
  // What one notes the other sees at once, and may not change; what waits for people is listed.
  await other.page.getByRole('button', { name: 'Note', exact: true }).click();
  await other.page.locator('#message').fill('I know her');
  await other.page.locator('#message').press('Enter');
  await row(page, 'I know her').getByRole('heading', { name: 'Note by bea' }).waitFor();
  assert.equal(await row(page, 'I know her').getByRole('button', { name: 'Edit the note' }).count(), 0);
  await row(page, 'I know her').getByRole('button', { name: /^Remove/ }).click();
  await row(page, 'I know her').getByRole('button', { name: 'Remove the note' }).click();
  await row(other.page, 'I know her').waitFor({ state: 'detached' });
  await page.getByLabel('Which chats').selectOption('waiting');
  await inList(page, /Zoe/).waitFor();
  await page.getByLabel('Which chats').selectOption('unread');
  await page.getByText('Everything is read.').waitFor();
  await page.getByLabel('Which chats').selectOption('all');
  await page.getByLabel('Responsible').selectOption({ label: 'bea' });
  await inList(other.page, /Zoe.*bea/s).waitFor();

  // Of a channel with several credentials one is changed, and the others stay.
  await page.getByRole('link', { name: 'Connect a channel' }).first().click();
  await page.getByLabel('Platform', { exact: true }).selectOption('WHATSAPP_TWILIO');
  for (const [label, value] of Object.entries({ Name: 'Shop number', 'Account SID': 'AC1', 'Auth token': 'the first one', Number: '+15551234567' })) {
    await page.getByLabel(label, { exact: true }).fill(value);
  }
  await page.getByRole('button', { name: 'Connect', exact: true }).click();
  await page.getByRole('heading', { name: 'Shop number' }).waitFor();
  await page.getByText('New credentials', { exact: true }).click();
  await page.getByLabel('Auth token').fill('second token');
  const stored = page.waitForResponse((answer) => answer.request().method() === 'PUT' && answer.url().includes('/channels/'));
  await page.getByRole('button', { name: 'Store' }).click();
  const { id } = await (await stored).json();
  const kept = await page.evaluate(async (path) => (await fetch(path)).json(), `/channels/${id}/credentials`);
  assert.deepEqual(kept.credentials_to_send_message, { user: '****', token: '****oken', from_number: '****4567' });
  other.forgive(REFUSED);
  await other.close();
  await window.close();
});

const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
for (const [name, options] of [['phone, light', { ...phone, colorScheme: 'light' }], ['phone, dark', { ...phone, colorScheme: 'dark' }], ['dark', { colorScheme: 'dark' }]]) {
  test(`axe finds nothing in the inbox: ${name}`, async () => {
    const window = await open(browser, { ...options, reducedMotion: 'reduce' });
    const { page } = window;
    await signIn(window, server);
    const toInbox = async () => {
      if (options.isMobile) await page.getByRole('button', { name: 'Open the list of conversations' }).click();
      await openInbox(page);
    };
    await toInbox();
    await page.getByText('You are signed in as the owner.').waitFor();
    await connectBot(page, server.url);
    await page.getByText('Telegram: Connected').waitFor();
    assert.deepEqual(await complaints(page), [], 'the channel');
    while (!telegram.webhook) await page.waitForTimeout(50);
    await telegram.say('A long question that does not fit into one line of a list on a telephone, whatever is done about it');
    await toInbox();
    await inList(page, /Zoe/).waitFor();
    assert.deepEqual(await complaints(page), [], 'the list');
    await inList(page, /Zoe/).click();
    telegram.refuse(400, 'Bad Request: message text is not nice');
    await page.locator('#message').fill('No');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await rows(page).getByRole('button', { name: 'Send again' }).waitFor();
    await page.getByRole('button', { name: 'Note', exact: true }).click();
    await page.locator('#message').fill('A note');
    await page.getByRole('button', { name: 'Store the note' }).click();
    await row(page, 'A note').waitFor();
    assert.deepEqual(await complaints(page), [], 'a chat');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, 'nothing is wider than the page');
    if (options.isMobile) {
      await page.getByRole('link', { name: 'Back to the chats' }).click();
      await inList(page, /Zoe/).waitFor();
    }
    await page.getByRole('link', { name: 'People' }).click();
    await page.getByRole('heading', { name: 'People' }).waitFor();
    assert.deepEqual(await complaints(page), [], 'the people');
    await window.close();
  });
}
