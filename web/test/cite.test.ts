// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';

import { citationOf, citationsIn, linesOf, parseLines, type CiteHref } from '../src/lib/cite';
import { pieces, render } from '../src/lib/markdown';

const href: CiteHref = (citation) => `/p/demo/1?file=${encodeURIComponent(citation.path)}&line=${linesOf(citation)}`;
const page = (text: string, cite: CiteHref | null = href): HTMLElement => {
  const div = document.createElement('div');
  div.innerHTML = pieces(render(text, null, true, cite ?? undefined)).join('');
  return div;
};
const links = (text: string): (string | null)[] => [...page(text).querySelectorAll('a.cite')].map((link) => link.textContent);

describe('a citation', () => {
  it('is a path with a line, or a path that is plainly a file', () => {
    for (const [text, path, line, end] of [
      ['src/main.rs:12', 'src/main.rs', 12, 12],
      ['README.md:3-7', 'README.md', 3, 7],
      ['./web/src/App.svelte:3:14', 'web/src/App.svelte', 3, 3],
      ['.github/workflows/ci.yml', '.github/workflows/ci.yml', null, null],
      ['Makefile:9', 'Makefile', 9, 9],
      ['a/b-c/d_e.test.mjs:1–2', 'a/b-c/d_e.test.mjs', 1, 2],
      ['a.rs:9-3', 'a.rs', 9, 9],
    ] as const) {
      expect(citationOf(text), text).toEqual({ path, line, end });
    }
  });

  it('is nothing else', () => {
    for (const text of ['localhost:8080', '127.0.0.1:80', '12:30', 'std::fs', 'read_file', 'a b.rs:1', 'https://x.test/a.rs:1', 'example.com:443', '/api/projects', 'x.rs:', 'Makefiles:1', '']) {
      expect(citationOf(text), text).toBeNull();
    }
  });

  it('is found in a running text, with its line only', () => {
    const found = citationsIn('It is in src/a.rs:3, (b/c.py:4-5) and main.go; see https://x.test/a.rs:1 or http://h/d.ts:2.');
    expect(found.map(({ citation }) => `${citation.path}:${linesOf(citation)}`)).toEqual(['src/a.rs:3', 'b/c.py:4-5']);
    expect(citationsIn('x/y.rs:1a z.rs:2/3 no:4')).toEqual([]);
  });

  it('goes into an address and back', () => {
    expect(parseLines('3-7')).toEqual({ line: 3, end: 7 });
    expect(parseLines('3')).toEqual({ line: 3, end: 3 });
    for (const text of [null, '', '0', '-1', 'x', '1e3', '3-']) expect(parseLines(text)).toEqual({ line: null, end: null });
  });
});

describe('an answer', () => {
  it('links the files that it names', () => {
    expect(links('See `src/a.rs:3` and **b.py:4**, not `cargo test`.')).toEqual(['src/a.rs:3', 'b.py:4']);
    const link = page('`src/a b.rs` `src/a.rs:3-5`').querySelector('a')!;
    expect(link.getAttribute('href')).toBe('/p/demo/1?file=src%2Fa.rs&line=3-5');
    expect(link.getAttribute('target')).toBeNull();
    expect(link.innerHTML).toBe('<code>src/a.rs:3-5</code>');
  });

  it('links nothing in a block of code, in another link, or outside of a project', () => {
    expect(links('```\nsrc/a.rs:3\n```\n\n[src/a.rs:3](https://ok.test) [`b.rs:1`](https://ok.test)')).toEqual([]);
    expect(page('`src/a.rs:3`', null).querySelector('a')).toBeNull();
  });

  it('cannot make such a link by itself', () => {
    const div = page('<a class="cite" href="/api/sign-out">x</a> [x](/p/demo/1?file=a) [y](/api/sign-out "cite") `"><a class=cite href=/x>`');
    expect(div.querySelector('a[href]')).toBeNull();
    expect(page('`<img src=x onerror=alert(1)>.rs:1`').querySelector('img')).toBeNull();
  });

  it('is the same in pieces', () => {
    const text = 'One `src/a.rs:3`.\n\nTwo b/c.py:12 here.\n\n- `d.ts:1`\n- e\n';
    let grown = render('', null, false, href);
    for (let end = 1; end <= text.length; end += 1) grown = render(text.slice(0, end), grown, end === text.length, href);
    expect(pieces(grown).join('')).toBe(pieces(render(text, null, true, href)).join(''));
    expect(links(text)).toEqual(['src/a.rs:3', 'b/c.py:12', 'd.ts:1']);
  });
});
