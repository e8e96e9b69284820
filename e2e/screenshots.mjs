// Takes the pictures of the README from the real program.

import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { launch, open, signIn } from './lib/browser.mjs';
import { answers, countedTo, say, settled } from './lib/page.mjs';
import { Server } from './lib/server.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../docs/screenshots');
mkdirSync(folder, { recursive: true });

const FILES = {
  'README.md': '# Orchard\n\nCounts the apples of every tree.\n\n- `src/main.rs` counts\n- `harvest.csv` is what was picked\n',
  'harvest.csv': 'tree;apples\nCox;120\nBoskoop;88\nElstar;143\n',
  'src/main.rs':
    'use std::fs;\n\nfn main() -> std::io::Result<()> {\n    let text = fs::read_to_string("harvest.csv")?;\n    // TODO: say which line is wrong\n    let apples: u32 = text.lines().skip(1).filter_map(count).sum();\n    println!("{apples} apples");\n    Ok(())\n}\n\nfn count(line: &str) -> Option<u32> {\n    line.split(\';\').nth(1)?.parse().ok()\n}\n',
  'src/tree.rs': '// TODO: remember when it was planted\npub struct Tree {\n    pub name: String,\n}\n',
};

const server = await Server.start({}, FILES, 'orchard');
const browser = await launch();
try {
  const window = await open(browser, { deviceScaleFactor: 2, viewport: { width: 1280, height: 900 } });
  const { page } = window;
  await signIn(window, server);
  for (const text of ['Think about the harvest', 'Read harvest.csv', 'Which files are there?', 'Count to 400 slowly']) {
    await page.goto(server.url);
    await say(page, text);
    await page.waitForURL(/\/c\//);
    if (text.startsWith('Count')) await countedTo(page, 2);
    else await settled(page);
  }
  await page.goto(server.url);
  await say(page, 'List the files');
  await page.waitForURL(/\/c\//);
  await settled(page);
  await say(page, 'Search TODO in *.rs');
  await settled(page);
  await answers(page).last().locator('details summary').click();
  await page.waitForTimeout(1_500);
  await page.mouse.move(640, 5);

  const shoot = async (name) => {
    await page.waitForTimeout(400);
    await page.screenshot({ path: join(folder, `${name}.png`) });
  };
  const end = () => page.getByRole('region', { name: 'What was said' }).evaluate((node) => (node.scrollTop = node.scrollHeight));
  await page.emulateMedia({ colorScheme: 'light' });
  await end();
  await shoot('conversation-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shoot('conversation-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 360, height: 740 });
  await page.waitForTimeout(400);
  await end();
  await shoot('phone');

  await page.setViewportSize({ width: 1280, height: 900 });
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel("Owner's token").waitFor();
  await shoot('sign-in');
  await window.close();
} finally {
  await browser.close();
  // The long count need not come to its end.
  await server.kill();
  await server.stop();
}
