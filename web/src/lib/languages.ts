// The language that colours a file, by its name.

const BY_ENDING: Record<string, string> = {
  bash: 'bash', c: 'c', cc: 'cpp', cfg: 'ini', conf: 'ini', cpp: 'cpp', css: 'css', cts: 'typescript', cxx: 'cpp', diff: 'diff',
  go: 'go', h: 'c', hh: 'cpp', hpp: 'cpp', html: 'xml', ini: 'ini', java: 'java', js: 'javascript', json: 'json',
  jsonl: 'json', jsx: 'javascript', md: 'markdown', mjs: 'javascript', mts: 'typescript', patch: 'diff', py: 'python',
  pyi: 'python', rs: 'rust', sh: 'bash', sql: 'sql', svelte: 'xml', svg: 'xml', toml: 'ini', ts: 'typescript',
  tsx: 'typescript', vue: 'xml', xml: 'xml', yaml: 'yaml', yml: 'yaml', zsh: 'bash',
};

/** Empty: none is known, and the text stays plain. */
export function languageOf(path: string): string {
  const ending = /\.([A-Za-z0-9]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(BY_ENDING, ending) ? BY_ENDING[ending]! : '';
}
