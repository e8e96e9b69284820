// Where we are: "/" is a new conversation, "/c/<uuid>" a conversation, "/data" a new rule, "/data/<slug>" a rule.

import { base } from '../lib/base';
import { isUuid } from '../lib/ids';

export type Route = { name: 'new' } | { name: 'chat'; id: string } | { name: 'data'; rule: string | null } | { name: 'unknown' };

function parse(): Route {
  const path = location.pathname.startsWith(base) ? location.pathname.slice(base.length) : '';
  if (path === '') return { name: 'new' };
  const data = /^data(?:\/([a-z0-9_]{1,63}))?\/?$/.exec(path);
  if (data) return { name: 'data', rule: data[1] ?? null };
  const id = /^c\/([^/]+)\/?$/.exec(path)?.[1]?.toLowerCase();
  return id && isUuid(id) ? { name: 'chat', id } : { name: 'unknown' };
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

/** True for a click that should stay in this page. */
export const isPlainClick = (event: MouseEvent): boolean =>
  event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
