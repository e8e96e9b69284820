// Real Chromium, and an eye on everything that a page must not do.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });

/** What the browser itself writes to the console when the network is broken; the page cannot prevent it. */
const BROKEN_NETWORK = /WebSocket connection to .* failed|net::ERR_|Failed to load resource: net::/;

/** A browser window of its own, with its own cookies. `broken`: the story breaks the network. */
export async function open(browser, { broken = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const faults = [];
  const own = new Set();
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  context.on('page', (page) => {
    page.setDefaultTimeout(15_000);
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      if (broken && BROKEN_NETWORK.test(message.text())) return;
      faults.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => faults.push(`exception: ${error.message}`));
    page.on('dialog', (dialog) => {
      faults.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol === 'data:' || url.protocol === 'blob:') return;
      if (!own.has(url.host)) faults.push(`request to ${request.url()}`);
    });
  });
  return {
    context,
    page: await context.newPage(),
    /** This server's address is the only one that may be asked. */
    allow: (url) => own.add(new URL(url).host),
    /** The story expects this line in the console. */
    forgive: (pattern) => {
      const rest = faults.filter((fault) => !pattern.test(fault));
      faults.splice(0, faults.length, ...rest);
    },
    async close() {
      await context.close();
      assert.deepEqual(faults, [], 'the page did something that it must not do');
    },
  };
}

/** Opens the link that the server has printed. */
export async function signIn(window, server, base = server.url) {
  window.allow(base);
  await window.page.goto(base + new URL(server.link).pathname + new URL(server.link).hash);
  await window.page.locator('#message').waitFor();
}

/** Serious and critical findings of axe, in short. */
export async function complaints(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter((one) => one.impact === 'serious' || one.impact === 'critical')
    .map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target.join(' ')} (${node.any[0]?.message ?? ''})`).join('; ')}`);
}
