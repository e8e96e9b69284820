// What a person does and sees, in words.

import assert from 'node:assert/strict';

export async function say(page, text) {
  await page.locator('#message').fill(text);
  await page.locator('#message').press('Enter');
}

export const answers = (page) => page.locator('article:has(h2:text-is("Answer"))');
export const questions = (page) => page.locator('article:has(h2:text-is("You said"))');
export const bubbles = async (page) => questions(page).locator('.bubble').allTextContents();

/** The text of the newest answer. */
export const newest = async (page) => (await answers(page).last().locator('.prose').allInnerTexts()).join('\n').trim();

/** Waits until everything that was said has its answer. */
export async function settled(page) {
  await page.waitForFunction(() => {
    const last = [...document.querySelectorAll('article')].at(-1);
    const answered = last?.querySelector('h2')?.textContent === 'Answer';
    return answered && !document.querySelector('article[aria-busy="true"]');
  });
}

/** Waits until the newest answer has reached this number. */
export async function countedTo(page, number) {
  await page.waitForFunction((wanted) => {
    const prose = [...document.querySelectorAll('.prose')].at(-1);
    return prose && new RegExp(`\\b${wanted}\\b`).test(prose.textContent);
  }, number);
}

export const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i).join(' ');

/** Every number once, in order: no gap and no double. */
export async function assertCounted(page, from, to) {
  assert.equal((await newest(page)).replaceAll(/\s+/g, ' '), numbers(from, to));
}

/** A row of the side bar. */
export const row = (page, title) => page.getByRole('navigation', { name: 'Conversations' }).getByRole('link', { name: title });
