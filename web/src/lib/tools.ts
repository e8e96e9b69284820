// How tools are called and summed up on the page.

const LABELS: Record<string, string> = {
  read_file: 'Read',
  write_file: 'Write',
  edit_file: 'Edit',
  bash: 'Bash',
  glob: 'Glob',
  grep: 'Grep',
  web_search: 'WebSearch',
  web_fetch: 'WebFetch',
};

/** The name that the live frames use for a tool of the engine. */
export const toolLabel = (name: string): string => (Object.hasOwn(LABELS, name) ? LABELS[name]! : name);

const TITLES: Record<string, [doing: string, done: string]> = {
  Read: ['Reading a file', 'Read a file'],
  Write: ['Writing a file', 'Wrote a file'],
  Edit: ['Editing a file', 'Edited a file'],
  Bash: ['Running a command', 'Ran a command'],
  Glob: ['Searching for files', 'Searched for files'],
  Grep: ['Searching in files', 'Searched in files'],
  WebSearch: ['Searching the web', 'Searched the web'],
  WebFetch: ['Fetching a page', 'Fetched a page'],
};

/** What a call does or did, in a few words. */
export function toolTitle(name: string, done: boolean): string {
  const title = Object.hasOwn(TITLES, name) ? TITLES[name]! : ([`Using ${name}`, `Used ${name}`] as const);
  return title[done ? 1 : 0];
}

const TELLING = ['path', 'file_path', 'command', 'pattern', 'query', 'url', 'file', 'name'];
const SUMMARY_MAX = 120;

/** The one field of the input that tells most: a path, a command, a pattern. */
export function toolSummary(input: unknown): string {
  if (typeof input !== 'object' || input === null) return '';
  const fields = input as Record<string, unknown>;
  const key = TELLING.find((name) => typeof fields[name] === 'string') ?? Object.keys(fields)[0];
  if (key === undefined) return '';
  const value = fields[key];
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const line = text.split('\n', 1)[0]!.trim();
  return line.length > SUMMARY_MAX ? `${line.slice(0, SUMMARY_MAX)}…` : line;
}
