// Where we are: "/" is a new conversation, "/c/<uuid>" a conversation, "/data" a new rule, "/data/<slug>" a rule, "/p" the
// projects, "/p/<name>" a project, "/p/<name>/<number>" a conversation about it. "?file=<path>&line=<from>-<to>" shows a file
// of the project beside that.

import { base } from '../lib/base';
import { linesOf, parseLines, type Citation } from '../lib/cite';
import { isUuid } from '../lib/ids';

export type Route =
  | { name: 'new' }
  | { name: 'chat'; id: string }
  | { name: 'data'; rule: string | null }
  | { name: 'project'; project: string | null; conversation: number | null; file: Citation | null }
  | { name: 'unknown' };

function parse(): Route {
  const path = location.pathname.startsWith(base) ? location.pathname.slice(base.length) : '';
  if (path === '') return { name: 'new' };
  const data = /^data(?:\/([a-z0-9_]{1,63}))?\/?$/.exec(path);
  if (data) return { name: 'data', rule: data[1] ?? null };
  const project = /^p(?:\/([A-Za-z0-9_-]{1,50})(?:\/([1-9]\d{0,15}))?)?\/?$/.exec(path);
  if (project) {
    const [, name, number] = project;
    return { name: 'project', project: name ?? null, conversation: number ? Number(number) : null, file: name ? shownFile() : null };
  }
  const id = /^c\/([^/]+)\/?$/.exec(path)?.[1]?.toLowerCase();
  return id && isUuid(id) ? { name: 'chat', id } : { name: 'unknown' };
}

function shownFile(): Citation | null {
  const query = new URLSearchParams(location.search);
  const path = query.get('file');
  return path ? { path, ...parseLines(query.get('line')) } : null;
}

let route = $state<Route>(parse());
/** A message to scroll to, as hex. */
let target = $state<string | null>(messageInHash());

function messageInHash(): string | null {
  return /^#m-([0-9a-f]{32})$/.exec(location.hash)?.[1] ?? null;
}

addEventListener('popstate', () => {
  route = parse();
  target = messageInHash();
});

export const router = {
  get route() {
    return route;
  },
  get target() {
    return target;
  },
  go(path: string, replace = false): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', base + path);
    route = parse();
    target = messageInHash();
  },
  reached(): void {
    target = null;
    history.replaceState(null, '', location.pathname + location.search);
  },
};

export const chatPath = (id: string): string => `c/${id}`;
export const chatHref = (id: string): string => base + chatPath(id);

export const dataPath = (rule: string | null): string => (rule ? `data/${rule}` : 'data');

/** Null: all projects. `file` is shown beside. */
export function projectPath(project: string | null, conversation: number | null = null, file: Citation | null = null): string {
  const path = ['p', project, conversation].filter((part) => part !== null).join('/');
  if (!file) return path;
  const lines = linesOf(file);
  return `${path}?${new URLSearchParams({ file: file.path, ...(lines && { line: lines }) })}`;
}

/** True for a click that should stay in this page. */
export const isPlainClick = (event: MouseEvent): boolean =>
  event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
