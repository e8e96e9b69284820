import { describe, expect, it } from 'vitest';

import { freshId, isUuid, toHex, toUuid } from '../src/lib/ids';
import { repeatAfterMs } from '../src/lib/outbox';
import { merge, refreshTop } from '../src/lib/paging';
import { markWords } from '../src/lib/snippet';
import { dayGroup, duration, waiting } from '../src/lib/time';
import { toolLabel, toolSummary } from '../src/lib/tools';
import type { Session } from '../src/lib/wire';

describe('ids', () => {
  it('go both ways', () => {
    const id = freshId();
    expect(isUuid(id)).toBe(true);
    expect(toUuid(toHex(id))).toBe(id);
  });
});

describe('sending again', () => {
  it('repeats what may not have arrived, and nothing else', () => {
    for (const status of [0, 408, 429, 500, 502, 503, 504]) expect(repeatAfterMs(status, null, 0, 0.5)).not.toBeNull();
    for (const status of [400, 401, 403, 404, 409, 413, 422, 507]) expect(repeatAfterMs(status, null, 0, 0.5)).toBeNull();
  });

  it('gives up on a server that fails at it again and again', () => {
    expect(repeatAfterMs(500, null, 4, 0.5)).not.toBeNull();
    expect(repeatAfterMs(500, null, 5, 0.5)).toBeNull();
    expect(repeatAfterMs(503, null, 500, 0.5)).not.toBeNull();
  });

  it('waits longer each time, up to 15 s, and as long as it is told', () => {
    expect(repeatAfterMs(0, null, 0, 1)).toBe(500);
    expect(repeatAfterMs(0, null, 50, 1)).toBe(15_000);
    expect(repeatAfterMs(429, 30_000, 0, 1)).toBe(30_000);
  });
});

describe('the list', () => {
  const session = (id: string, minute: number): Session => ({ id, title: id, createdAt: '2026-01-01T00:00:00Z', updatedAt: `2026-01-01T00:${String(minute).padStart(2, '0')}:00Z` });
  const names = (list: Session[]): string => list.map((one) => one.id).join('');

  it('stays in order and holds each conversation once', () => {
    expect(names(merge([session('a', 1), session('b', 2)], [session('a', 3), session('c', 0)]))).toBe('abc');
  });

  it('forgets at the top what was deleted elsewhere, and keeps the older pages', () => {
    const list = [session('a', 9), session('b', 8), session('c', 5), session('d', 1)];
    expect(names(refreshTop(list, [session('a', 9), session('c', 5)], false))).toBe('acd');
    expect(names(refreshTop(list, [session('a', 9)], true))).toBe('a');
    expect(names(refreshTop(list, [], true))).toBe('');
  });

  it('is grouped by day', () => {
    const now = new Date(2026, 10, 20, 12);
    const at = (day: number): string => new Date(2026, 10, day, 23).toISOString();
    expect([20, 19, 16, 1].map((day) => dayGroup(at(day), now))).toEqual(['Today', 'Yesterday', 'Last 7 days', 'Last 30 days']);
  });
});

describe('words', () => {
  it('snippets are text in pieces', () => {
    expect(markWords('A <b>big</b> Bee', 'b')).toEqual([
      { text: 'A <', hit: false },
      { text: 'b', hit: true },
      { text: '>', hit: false },
      { text: 'b', hit: true },
      { text: 'ig</', hit: false },
      { text: 'b', hit: true },
      { text: '> ', hit: false },
      { text: 'B', hit: true },
      { text: 'ee', hit: false },
    ]);
    expect(markWords('a.b', '.*(')).toEqual([{ text: 'a.b', hit: false }]);
  });

  it('tools are summed up by what tells most', () => {
    expect(toolSummary({ content: 'x', path: 'notes.txt' })).toBe('notes.txt');
    expect(toolSummary({ command: 'ls\nrm' })).toBe('ls');
    expect(toolSummary({})).toBe('');
    expect(toolSummary(null)).toBe('');
    expect(toolLabel('read_file')).toBe('Read');
    expect(toolLabel('constructor')).toBe('constructor');
  });

  it('times are short', () => {
    expect([5, 1234, 12_345, 61_000].map(duration)).toEqual(['5 ms', '1.2 s', '12 s', '1 min 1 s']);
    expect([1, 60_000, 60_001, 898_000].map(waiting)).toEqual(['a minute', 'a minute', '2 minutes', '15 minutes']);
  });
});
