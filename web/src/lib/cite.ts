// Citations: where an answer names a file of the project, as `path`, `path:line` or `path:from-to`.

export interface Citation {
  path: string;
  /** From 1; null: the file as such. */
  line: number | null;
  /** The last line; that of `line`, if only one is named. */
  end: number | null;
}

/** The address at which a cited file is shown. */
export type CiteHref = (citation: Citation) => string;

/** Endings of text files. A name with another one, and without a line, is not taken for a file. */
const ENDINGS =
  'adoc|bash|bat|c|cc|cfg|clj|cmake|conf|cpp|cs|css|csv|cts|cxx|dart|diff|env|erl|ex|exs|fish|go|gradle|graphql|groovy|h|hcl|hh|hpp|' +
  'hrl|hs|html|ini|java|js|json|json5|jsonc|jsonl|jsx|kt|kts|less|lock|log|lua|m|md|mdx|mjs|ml|mm|mod|mts|nix|patch|php|pl|proto|ps1|' +
  'py|pyi|r|rb|rs|rst|sass|scala|scss|sh|sql|sum|svelte|swift|tex|tf|toml|ts|tsx|txt|vue|xml|yaml|yml|zig|zsh';
const BARE = 'Containerfile|Dockerfile|Justfile|LICENSE|Makefile|Procfile|Rakefile';
const NAME = `(?:[\\w.@+-]*\\.(?:${ENDINGS})|${BARE})`;
const PATH = `(?:\\.{0,2}/)?(?:[\\w.@+-]+/)*${NAME}`;
const LINES = ':(\\d{1,7})(?:(?:-|–)(\\d{1,7})|:\\d{1,7})?';

const WHOLE = new RegExp(`^(${PATH})(?:${LINES})?$`);
/** In running text only with a line: `a.go` may be anything there. Not inside of a longer word or an address. */
const INSIDE = new RegExp(`(?<![\\w/:.@-])(${PATH})${LINES}(?![\\w/])`, 'g');

/** Characters of the longest text that is looked at as one citation. */
const LONGEST = 400;

function citation(path: string, from: string | undefined, to: string | undefined): Citation {
  const line = from === undefined ? null : Math.max(1, Number(from));
  const end = line === null ? null : Math.max(line, Number(to ?? line));
  return { path: path.replace(/^\.\//, ''), line, end };
}

/** The citation that this text is, and nothing else. */
export function citationOf(text: string): Citation | null {
  if (text.length > LONGEST) return null;
  const found = WHOLE.exec(text);
  return found ? citation(found[1]!, found[2], found[3]) : null;
}

/** The citations in a running text, with where each begins and ends. */
export function citationsIn(text: string): { from: number; to: number; citation: Citation }[] {
  if (!text.includes(':')) return [];
  return [...text.matchAll(INSIDE)].map((found) => ({
    from: found.index,
    to: found.index + found[0].length,
    citation: citation(found[1]!, found[2], found[3]),
  }));
}

/** `12` or `12-15`, as it stands in an address. */
export const linesOf = ({ line, end }: Citation): string => (line === null ? '' : end === null || end === line ? `${line}` : `${line}-${end}`);

export function parseLines(text: string | null): Pick<Citation, 'line' | 'end'> {
  const found = /^([1-9]\d{0,6})(?:-(\d{1,7}))?$/.exec(text ?? '');
  if (!found) return { line: null, end: null };
  const line = Number(found[1]);
  return { line, end: Math.max(line, Number(found[2] ?? line)) };
}
