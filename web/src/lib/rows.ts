// The order in which a person reads: each message with its answer below it, what waits at the end.

import type { Outgoing } from './outbox';
import { isAsking, type Item, type Transcript, type TurnItem, type UserItem } from './transcript';

export type Row =
  | { kind: 'user'; key: string; item: UserItem; waiting: 'no' | 'queued' | 'next' }
  | { kind: 'turn'; key: string; item: TurnItem; last: boolean; question: string | null }
  | { kind: 'outgoing'; key: string; entry: Outgoing };

/** `outbox` holds what this tab has sent and not yet seen in the log. */
export function arrange(transcript: Transcript, outbox: Outgoing[]): Row[] {
  const { items } = transcript;
  const turnsOf = pair(items);
  const taken = new Set([...turnsOf.values()].flat());
  const running = items.some((item) => item.kind === 'turn' && item.state === 'running');
  const asking = items.some(isAsking);
  const lastAnswered = items.findLastIndex((item) => item.kind === 'user' && turnsOf.has(item.id));

  const rows: Row[] = [];
  let waiters = 0;
  items.forEach((item, at) => {
    if (item.kind === 'turn') {
      if (!taken.has(item)) rows.push(turnRow(item, null));
      return;
    }
    const answers = turnsOf.get(item.id) ?? [];
    let waiting: 'no' | 'queued' | 'next' = 'no';
    if (answers.length === 0 && at > lastAnswered) {
      if (running || asking || waiters > 0) waiting = 'queued';
      else if (item.live) waiting = 'next';
      waiters += 1;
    }
    rows.push({ kind: 'user', key: keyOf(item.clientId, item.id), item, waiting });
    for (const turn of answers) rows.push(turnRow(turn, item.text));
  });

  const seen = new Set(items.map((item) => (item.kind === 'user' ? item.clientId : null)));
  for (const entry of outbox) {
    if (!seen.has(entry.clientId)) rows.push({ kind: 'outgoing', key: keyOf(entry.clientId, ''), entry });
  }
  const last = rows.at(-1);
  if (last?.kind === 'turn') last.last = true;
  return rows;
}

/** Is an answer being written, or about to be? */
export function isBusy(rows: Row[]): boolean {
  const running = rows.some((row) => row.kind === 'turn' && row.item.state === 'running');
  // Where a question is open, it is a person who is waited for.
  const asking = rows.some((row) => row.kind === 'turn' && isAsking(row.item));
  return running || (!asking && rows.some((row) => row.kind === 'user' && row.waiting !== 'no'));
}

const turnRow = (item: TurnItem, question: string | null): Row => ({
  kind: 'turn',
  key: `t:${item.id}`,
  item,
  last: false,
  question,
});

/** The same bubble before and after the server has it. */
const keyOf = (clientId: string | null, id: string): string => (clientId ? `c:${clientId}` : `m:${id}`);

/**
 * Which turns answer which message. Where the server has not said so, turns answer messages in the order in which they came.
 */
function pair(items: Item[]): Map<string, TurnItem[]> {
  const turns = new Map(items.filter((item) => item.kind === 'turn').map((turn) => [turn.id, turn]));
  const pairs = new Map<string, TurnItem[]>();
  const lastOf = new Map<string, string>();
  for (const item of items) {
    if (item.kind === 'user' && item.turnId && turns.has(item.turnId)) lastOf.set(item.turnId, item.id);
  }
  for (const [turnId, userId] of lastOf) pairs.set(userId, [turns.get(turnId)!]);

  const open: UserItem[] = [];
  for (const item of items) {
    if (item.kind === 'user' && item.turnId === null) open.push(item);
    else if (item.kind === 'turn' && !lastOf.has(item.id)) {
      const user = open.shift();
      if (user) pairs.set(user.id, [item]);
    }
  }
  return pairs;
}
