// Colours for code: a handful of languages, never a guess.

import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import markdown from 'highlight.js/lib/languages/markdown';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';

const languages = {
  bash, c, cpp, css, diff, go, ini, java, javascript, json, markdown, python, rust, sql, typescript, xml, yaml,
};
for (const [name, language] of Object.entries(languages)) hljs.registerLanguage(name, language);
hljs.registerAliases(['console', 'shell', 'zsh'], { languageName: 'bash' });
hljs.registerAliases(['svelte', 'vue'], { languageName: 'xml' });

/** Beyond this the rest of a block stays plain: colours must not cost smoothness. */
const MOST_CHARS = 24_000;

/** Code as HTML: coloured where the language is known, escaped in any case. */
export function highlight(code: string, language: string): string {
  if (!hljs.getLanguage(language)) return escape(code);
  if (code.length <= MOST_CHARS) return coloured(code, language);
  const cut = code.lastIndexOf('\n', MOST_CHARS) + 1 || MOST_CHARS;
  return remembered(code.slice(0, cut), language) + escape(code.slice(cut));
}

const coloured = (code: string, language: string): string => hljs.highlight(code, { language, ignoreIllegals: true }).value;

let last = { code: '', language: '', html: '' };

/** The beginning of a long block is the same in every frame of its stream. */
function remembered(code: string, language: string): string {
  if (last.code !== code || last.language !== language) last = { code, language, html: coloured(code, language) };
  return last.html;
}

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
export const escape = (text: string): string => text.replace(/[&<>"]/g, (sign) => ESCAPES[sign]!);
