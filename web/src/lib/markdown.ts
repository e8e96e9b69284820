// Markdown to safe HTML, block by block, so that a growing text re-renders only its last block.
//
// Two walls: the parser passes no HTML through, and the sanitiser knows only the few tags that the parser makes.

import DOMPurify from 'dompurify';
import MarkdownIt, { type Env, type Token } from 'markdown-it';

import { citationOf, citationsIn, type CiteHref } from './cite';
import { escape, highlight } from './highlight';

const md = new MarkdownIt({ html: false, linkify: true, breaks: false, typographer: false });
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });

/** Headings of an answer stand below those of the page. */
const shifted = (tag: string): string => `h${Math.min(6, Number(tag.slice(1)) + 2)}`;
md.renderer.rules.heading_open = (tokens, i) => `<${shifted(tokens[i]!.tag)}>`;
md.renderer.rules.heading_close = (tokens, i) => `</${shifted(tokens[i]!.tag)}>\n`;
md.renderer.rules.table_open = () => '<div class="table" tabindex="0" role="group" aria-label="Table"><table>';
md.renderer.rules.table_close = () => '</table></div>\n';
md.renderer.rules.th_open = (tokens, i) => `<th${alignment(tokens[i]!.attrGet('style'))}>`;
md.renderer.rules.td_open = (tokens, i) => `<td${alignment(tokens[i]!.attrGet('style'))}>`;
md.renderer.rules.fence = (tokens, i) => codeBlock(tokens[i]!.content, tokens[i]!.info);
md.renderer.rules.code_block = (tokens, i) => codeBlock(tokens[i]!.content, '');
md.renderer.rules.image = (tokens, i) => imageChip(String(tokens[i]!.attrGet('src') ?? ''), tokens[i]!.content);

/** What the renderer knows beside the text. */
interface Place extends Env {
  cite?: CiteHref | undefined;
}

md.renderer.rules.code_inline = (tokens, i, _options, env?: Place) => {
  const { content } = tokens[i]!;
  const code = `<code>${escape(content)}</code>`;
  const cited = env?.cite && !isLinked(tokens, i) ? citationOf(content) : null;
  return cited ? citeLink(env!.cite!(cited), code) : code;
};

md.renderer.rules.text = (tokens, i, _options, env?: Place) => {
  const { content } = tokens[i]!;
  const found = env?.cite && !isLinked(tokens, i) ? citationsIn(content) : [];
  let html = '';
  let at = 0;
  for (const { from, to, citation } of found) {
    html += escape(content.slice(at, from)) + citeLink(env!.cite!(citation), escape(content.slice(from, to)));
    at = to;
  }
  return html + escape(content.slice(at));
};

/** Only what is made here has this class: a text cannot set one. */
const CITE = 'cite';
const citeLink = (href: string, label: string): string => `<a class="${CITE}" href="${escape(href)}">${label}</a>`;

/** A link inside of a link is none. */
function isLinked(tokens: Token[], i: number): boolean {
  let depth = 0;
  for (const token of tokens.slice(0, i)) depth += token.type === 'link_open' ? 1 : token.type === 'link_close' ? -1 : 0;
  return depth > 0;
}

/** The parser aligns with an inline style, which the page's policy forbids. */
function alignment(style: string | number | null): string {
  const side = /text-align:(right|center)/.exec(String(style ?? ''))?.[1];
  return side ? ` class="${side}"` : '';
}

function codeBlock(code: string, info: string): string {
  const language = /^[\w+#.-]{1,24}/.exec(info.trim())?.[0].toLowerCase() ?? '';
  const label = language ? `Code, ${language}` : 'Code';
  return (
    `<div class="code${language ? '' : ' bare'}"><div class="code-head"><span class="code-lang">${escape(language)}</span>` +
    `<button type="button" class="code-copy" aria-label="Copy code">Copy</button></div>` +
    `<pre tabindex="0" role="group" aria-label="${escape(label)}"><code>${highlight(code, language)}</code></pre></div>\n`
  );
}

/** An image is never fetched: its address would tell the other side that, when and what is read here. */
function imageChip(src: string, alt: string): string {
  const label = escape(alt.trim() || 'Image');
  const url = webAddress(src);
  if (!url) return `<span class="image-chip">${label}</span>`;
  return `<a class="image-chip" href="${escape(url.href)}">${label}<span class="image-host">${escape(url.host)} · click to load</span></a>`;
}

function webAddress(text: string): URL | null {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url : null;
  } catch {
    return null;
  }
}

const TAGS = [
  'a', 'blockquote', 'br', 'button', 'code', 'del', 'div', 'em', 'h3', 'h4', 'h5', 'h6', 'hr', 'li', 'ol', 'p', 'pre',
  's', 'span', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul',
];
const ATTRIBUTES = ['aria-label', 'class', 'href', 'rel', 'role', 'start', 'tabindex', 'target', 'title', 'type'];

const purify = DOMPurify();
purify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return;
  const href = node.getAttribute('href') ?? '';
  if (node.classList.contains(CITE)) return;
  if (webAddress(href) || /^mailto:[^\s]+$/i.test(href)) {
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer nofollow');
  } else {
    node.removeAttribute('href');
  }
});

const sanitise = (html: string): string =>
  purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOW_UNKNOWN_PROTOCOLS: false,
  });

/** What one text needs to be rendered again when it has grown. */
export interface Rendered {
  text: string;
  /** Characters at the beginning whose blocks are closed and will not change. */
  closed: number;
  /** The text of each closed block, and its HTML. */
  blocks: { source: string; html: string }[];
  /** The HTML of the block that is still being written. */
  open: string;
  /** `[name]: address` definitions seen so far. */
  references: NonNullable<Env['references']>;
}

const nothing: Rendered = { text: '', closed: 0, blocks: [], open: '', references: {} };

/**
 * Renders `text`; what `before` has done already is not done again. `done`: nothing more will come. `cite`: files that are named
 * become links; the same for every piece of a text.
 */
export function render(text: string, before: Rendered | null = null, done = true, cite?: CiteHref): Rendered {
  const start = before && text.startsWith(before.text) ? before : nothing;
  const next: Rendered = { ...start, text, blocks: start.blocks.slice(), references: { ...start.references } };
  closeBlocks(next, cite);
  const env = { references: { ...next.references }, cite };
  next.open = html(text.slice(next.closed), env);
  if (done && Object.keys(env.references).length > 0) resolveReferences(next, env);
  return next;
}

/** Every piece of HTML in order, for a keyed list: closed blocks never change again. */
export const pieces = (rendered: Rendered): string[] => [...rendered.blocks.map((block) => block.html), rendered.open];

/** All blocks but the last are closed, as far as whole lines tell: half a line may still become anything. */
function closeBlocks(next: Rendered, cite?: CiteHref): void {
  const end = next.text.lastIndexOf('\n') + 1;
  if (end <= next.closed) return;
  const source = next.text.slice(next.closed, end);
  const env = { references: next.references };
  const starts = md
    .parse(source, env)
    .filter((token) => token.level === 0 && token.nesting >= 0 && token.map)
    .map((token) => token.map![0]);
  if (starts.length < 2) return;
  const offsets = lineOffsets(source);
  starts[0] = 0;
  for (let i = 0; i + 1 < starts.length; i += 1) {
    const block = source.slice(offsets[starts[i]!], offsets[starts[i + 1]!]);
    next.blocks.push({ source: block, html: html(block, { references: next.references, cite }) });
  }
  next.closed += offsets[starts.at(-1)!]!;
}

/** A definition at the end of a text gives addresses to links at its beginning. */
function resolveReferences(next: Rendered, env: { references: Rendered['references']; cite: CiteHref | undefined }): void {
  next.references = env.references;
  next.blocks = next.blocks.map(({ source }) => ({ source, html: html(source, { ...env }) }));
}

const html = (source: string, env: Place): string => (source === '' ? '' : sanitise(md.render(source, env)));

function lineOffsets(text: string): number[] {
  const offsets = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) offsets.push(at + 1);
  return offsets;
}
