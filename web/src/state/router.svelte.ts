// Where we are: "/" is a new conversation, "/c/<uuid>" a conversation, "/data" a new rule, "/data/<slug>" a rule, "/p" the
// projects, "/p/<name>" a project, "/p/<name>/<number>" a conversation about it. "?file=<path>&line=<from>-<to>" shows a file
// of the project beside that. "/inbox" are the chats with contacts, "/inbox/<channel>" those of a channel,
// "/inbox/<channel>/<chat>" one of them.

import { base } from '../lib/base';
import { linesOf, parseLines, type Citation } from '../lib/cite';
import { isUuid } from '../lib/ids';

export type InboxView =
  | { kind: 'list'; channel: string | null }
  | { kind: 'chat'; channel: string; chat: string }
  | { kind: 'channel'; channel: string }
  | { kind: 'connect' | 'agents' | 'people' | 'replies' };

export type Route =
  | { name: 'new' }
  | { name: 'inbox'; view: InboxView }
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
  const inbox = /^inbox(?:\/(.*?))?\/?$/.exec(path);
  if (inbox) return inboxRoute(inbox[1] ?? '');
  const id = /^c\/([^/]+)\/?$/.exec(path)?.[1]?.toLowerCase();
  return id && isUuid(id) ? { name: 'chat', id } : { name: 'unknown' };
}

function shownFile(): Citation | null {
  const query = new URLSearchParams(location.search);
  const path = query.get('file');
  return path ? { path, ...parseLines(query.get('line')) } : null;
}

function inboxRoute(rest: string): Route {
  if (rest === '') return { name: 'inbox', view: { kind: 'list', channel: null } };
  if (rest === 'connect' || rest === 'agents' || rest === 'people' || rest === 'replies') return { name: 'inbox', view: { kind: rest } };
  const [, channel, more] = /^(channel_\w+)(?:\/(settings|chat_\w+))?$/.exec(rest) ?? [];
  if (channel === undefined) return { name: 'unknown' };
  if (more === undefined) return { name: 'inbox', view: { kind: 'list', channel } };
  if (more === 'settings') return { name: 'inbox', view: { kind: 'channel', channel } };
  return { name: 'inbox', view: { kind: 'chat', channel, chat: more } };
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

export function inboxPath(view: InboxView): string {
  switch (view.kind) {
    case 'list':
      return view.channel ? `inbox/${view.channel}` : 'inbox';
    case 'chat':
      return `inbox/${view.channel}/${view.chat}`;
    case 'channel':
      return `inbox/${view.channel}/settings`;
    case 'connect':
    case 'agents':
    case 'people':
    case 'replies':
      return `inbox/${view.kind}`;
  }
}

/** Follows a link within this page. */
export function follow(event: MouseEvent, path: string): void {
  if (!isPlainClick(event)) return;
  event.preventDefault();
  router.go(path);
}

/** True for a click that should stay in this page. */
export const isPlainClick = (event: MouseEvent): boolean =>
  event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
