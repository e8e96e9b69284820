// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';

import { pieces, render } from '../src/lib/markdown';
import { generator } from './story';

const html = (text: string): string => pieces(render(text)).join('');
const page = (text: string): HTMLElement => {
  const div = document.createElement('div');
  div.innerHTML = html(text);
  return div;
};

const PAYLOADS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>',
  '<svg><script href="data:text/javascript,alert(1)"/></svg>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  '<a href="javascript:alert(1)">x</a>',
  '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
  '<form action=//evil.test><button>go</button></form>',
  '<link rel=dns-prefetch href=//evil.test><meta http-equiv=refresh content="0;url=//evil.test">',
  '<style>@import "//evil.test/x.css"</style><base href=//evil.test>',
  '<input autofocus onfocus=alert(1)><details open ontoggle=alert(1)>',
  '<video src=//evil.test/x poster=//evil.test/y></video><object data=//evil.test></object>',
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](java&#x73;cript:alert(1))',
  '[x](data:text/html,<script>alert(1)</script>)',
  '[x](vbscript:msgbox(1))',
  '[x](file:///etc/passwd)',
  '[x](/api/sign-out)',
  '<javascript:alert(1)>',
  '[a]: javascript:alert(1)\n\n[a]',
  '![x](https://evil.test/p.png)',
  '![x][r]\n\n[r]: https://evil.test/p.png "t"',
  '![x](https://evil.test/p.png "a\\" onerror=alert(1)")',
  '![](//evil.test/p.png)',
  '![x](data:image/svg+xml,<svg onload=alert(1)>)',
  '[![x](https://evil.test/p.png)](https://evil.test/)',
  '```"><img src=x onerror=alert(1)>\ncode\n```',
  '```html\n<img src=x onerror=alert(1)>\n```',
  '`<img src=x onerror=alert(1)>`',
  '| <img src=x onerror=alert(1)> | b |\n|---|---|\n| <script>1</script> | [x](javascript:1) |',
  '[x](https://ok.test "t\\" onmouseover=\\"alert(1)")',
  '<https://ok.test/"onmouseover="alert(1)>',
  'https://ok.test/"><img src=x onerror=alert(1)>',
  '&lt;img src=x onerror=alert(1)&gt;',
  '[<img src=x onerror=alert(1)>](https://ok.test)',
  '![<img src=x onerror=alert(1)>](https://ok.test/x.png)',
  '# <svg onload=alert(1)>\n> <script>1</script>\n- <iframe src=//evil.test>',
];

describe('what a text cannot do', () => {
  it.each(PAYLOADS)('%s', (payload) => {
    const div = page(payload);
    expect(div.querySelector('script,style,iframe,img,svg,math,form,input,object,video,audio,link,meta,base,details')).toBeNull();
    for (const node of div.querySelectorAll('*')) {
      for (const { name, value } of [...node.attributes]) {
        expect(name).not.toMatch(/^on|^style$|^src|^action$|^formaction$|^background$|^poster$|^ping$/);
        if (name === 'href') expect(value).toMatch(/^(https?:|mailto:)/);
      }
    }
    for (const link of div.querySelectorAll('a[href]')) {
      expect(link.getAttribute('target')).toBe('_blank');
      expect(link.getAttribute('rel')).toBe('noopener noreferrer nofollow');
    }
  });

  it('shows an image as a chip with its host', () => {
    const chip = page('![A cat](https://pics.test/cat.png)').querySelector('a.image-chip')!;
    expect(chip.textContent).toBe('A catpics.test · click to load');
    expect(page('![x][r]\n\n[r]: https://pics.test/cat.png').querySelector('.image-host')!.textContent).toContain('pics.test');
  });

  it('keeps the text of what it takes away', () => {
    expect(page('<script>alert(1)</script>').textContent).toContain('<script>alert(1)</script>');
    expect(page('[read me](javascript:alert(1))').textContent).toContain('read me');
  });
});

describe('what it makes', () => {
  it('code blocks with a name, a copy button and colours', () => {
    const div = page('```rust\nfn main() {}\n```');
    expect(div.querySelector('.code-lang')!.textContent).toBe('rust');
    expect(div.querySelector('button.code-copy')).not.toBeNull();
    expect(div.querySelector('.hljs-keyword')!.textContent).toBe('fn');
    expect(div.querySelector('code')!.textContent).toBe('fn main() {}\n');
  });

  it('headings below those of the page, and tables with their sides', () => {
    expect(page('# One').querySelector('h3')!.textContent).toBe('One');
    expect(page('| a | b |\n|---|--:|\n| 1 | 2 |').querySelector('td.right')!.textContent).toBe('2');
  });
});

const CORPUS = [
  '# Title\n\nA paragraph with **bold**, _emphasis_ and `code`.\nIts second line.\n\n## Next\n\nMore.\n',
  '- one\n- two\n\n- three\n\n  with a paragraph\n  - nested\n    - deeper\n\nAfter.\n\n1. a\n2. b\n\n   ```js\n   let x = 1;\n\n   let y;\n   ```\n3. c\n',
  'Text\n===\n\nOther\n---\n\n***\n\n> quote\n> more\nlazy\n\n> second\n',
  '```rust\nfn main() {\n\n    println!("# no heading");\n}\n```\nafter\n~~~\nopen\n\nstill open\n',
  '| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n\npara\n| c | d |\n|---|---|\n| 5 | 6 |\nend\n',
  'para\n#hashtag\n# heading\n-not\n- list\n+ other\n\n    indented code\n\n    goes on\n\ntail',
  'Hello\n\n1) one\n2) two\n\n\n\nDone https://example.com/x and <https://example.org>.\n\\* escaped &amp; entity\n',
  'See [the docs][d] and [more].\n\nText\n\n[d]: https://example.com/docs\n[more]: https://example.com/more\n',
  '<div>\n\nhtml\n\n</div>\n\n<!-- comment\n\n-->\n\nÜmläute 漢字 🎉\r\nwindows\r\n\r\nlines\r\n',
];

describe('a growing text', () => {
  it.each(CORPUS.map((text, i) => [i, text] as const))('text %i ends as if it had come at once', (seed, text) => {
    const whole = html(text);
    for (let round = 0; round < 12; round += 1) {
      const random = generator(seed * 100 + round);
      let state = null;
      for (let at = 0; at < text.length; ) {
        at = Math.min(text.length, at + 1 + Math.floor(random() * (round < 3 ? 1 : 30)));
        state = render(text.slice(0, at), state, false);
      }
      expect(pieces(render(text, state, true)).join('')).toBe(whole);
    }
  });

  it('is the same in blocks as in one piece', () => {
    for (const text of CORPUS) {
      const blocks = render(text, null, true);
      // A line that never ends keeps every block open.
      const whole = render(text.replaceAll(/\r?\n/g, '\r'), null, true);
      expect(whole.blocks).toEqual([]);
      expect(whole.open).toBe(pieces(blocks).join(''));
    }
  });

  it('touches only its last block', () => {
    const first = render('One.\n\nTwo.\n\nThr', null, false);
    const second = render('One.\n\nTwo.\n\nThree.', first, false);
    expect(second.blocks.map((block) => block.html)).toEqual(first.blocks.map((block) => block.html));
    expect(second.blocks[0]).toBe(first.blocks[0]);
    expect(second.closed).toBe(first.closed);
  });

  // Against itself, because machines differ: whoever renders everything anew takes twenty times as long in the end.
  it('of 100 KB takes no longer for each piece than a short one', () => {
    const paragraph = 'Some **words** about `code` and [links](https://example.com), again and again.\n\n```js\nconst a = 1;\n```\n\n';
    const text = paragraph.repeat(Math.ceil(100_000 / paragraph.length));
    const times: number[] = [];
    let state = null;
    for (let at = 0; at < text.length; at += 200) {
      const began = performance.now();
      state = render(text.slice(0, at), state, false);
      times.push(performance.now() - began);
    }
    const median = (some: number[]) => some.toSorted((a, b) => a - b)[Math.floor(some.length / 2)]!;
    const share = Math.floor(times.length / 10);
    expect(median(times.slice(-share)) / median(times.slice(0, share))).toBeLessThan(6);
  }, 120_000);
});
