// A list that is read page by page and refreshed from its top.

import type { Session } from './wire';

const newestFirst = (a: Session, b: Session): number =>
  b.updatedAt.localeCompare(a.updatedAt) || b.createdAt.localeCompare(a.createdAt);

/** Adds or replaces sessions by id; the list stays in the server's order. */
export function merge(list: Session[], fresh: Session[]): Session[] {
  const byId = new Map(list.map((session) => [session.id, session]));
  for (const session of fresh) byId.set(session.id, session);
  return [...byId.values()].sort(newestFirst);
}

/**
 * A fresh first page: replaces what it covers, drops what it should have covered and does not (deleted elsewhere),
 * keeps the older pages behind it.
 */
export function refreshTop(list: Session[], top: Session[], complete: boolean): Session[] {
  const last = top.at(-1);
  if (complete || !last) return merge([], top);
  const covered = new Set(top.map((session) => session.id));
  const older = list.filter((session) => !covered.has(session.id) && newestFirst(last, session) < 0);
  return merge(older, top);
}

interface Numbered {
  id: number;
  updated_at: string;
}

/** The same for what is named by numbers: newest first, then the highest number. */
export function mergeNumbered<T extends Numbered>(list: T[], fresh: T[]): T[] {
  const byId = new Map(list.map((one) => [one.id, one]));
  for (const one of fresh) byId.set(one.id, one);
  return [...byId.values()].sort((a, b) => b.updated_at.localeCompare(a.updated_at) || b.id - a.id);
}
