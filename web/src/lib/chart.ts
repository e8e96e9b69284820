// From rows and a chart's description to shapes on a grid of 640 × 320. Pure: names of columns in, numbers out.

import type { ChartSpec, Row } from './rules';

export const WIDTH = 640;
export const HEIGHT = 320;
const LEFT = 64;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 56;
/** More marks than this cannot be told apart. */
export const MOST = 60;
const TICKS = 4;

export interface Mark {
  /** What a person hears and sees of it. */
  label: string;
  series: number;
  x: number;
  y: number;
  width: number;
  height: number;
  /** Of a pie. */
  path?: string;
}

export interface Drawing {
  marks: Mark[];
  /** Of lines and areas, one for each series. */
  paths: { series: number; line: string; area: string }[];
  names: string[];
  xs: { at: number; text: string }[];
  ys: { at: number; text: string }[];
  zero: number;
  /** Rows that are not drawn. */
  left: number;
}

const number = (value: unknown): number | null => {
  const read = typeof value === 'number' ? value : typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
  return Number.isFinite(read) ? read : null;
};

/** `null`: there is nothing to draw. */
export function draw(spec: ChartSpec, rows: Row[]): Drawing | null {
  const series = spec.series;
  const points = rows.flatMap((row) => {
    const y = number(row[spec.y]);
    return y === null ? [] : [{ x: String(row[spec.x] ?? ''), y, of: series ? String(row[series] ?? '') : '' }];
  });
  const names = [...new Set(points.map((point) => point.of))];
  const labels = [...new Set(points.map((point) => point.x))].slice(0, MOST);
  const drawn = points.filter((point) => labels.includes(point.x));
  if (drawn.length === 0) return null;
  if (spec.mark === 'pie') return pie(drawn, points.length);
  const [low, high] = bounds(drawn.map((point) => point.y));
  const y = (value: number): number => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const band = (WIDTH - LEFT - RIGHT) / labels.length;
  const middle = (label: string): number => LEFT + band * (labels.indexOf(label) + 0.5);
  const zero = y(Math.min(Math.max(0, low), high));
  const bars = spec.mark === 'bar';
  const wide = (band * 0.72) / names.length;
  const marks = drawn.map((point): Mark => {
    const of = names.indexOf(point.of);
    const top = y(point.y);
    const label = `${point.x}${point.of ? `, ${point.of}` : ''}: ${point.y.toLocaleString()}`;
    return bars
      ? { label, series: of, x: middle(point.x) - band * 0.36 + wide * of, y: Math.min(top, zero), width: wide, height: Math.max(Math.abs(zero - top), 1) }
      : { label, series: of, x: middle(point.x), y: top, width: 0, height: 0 };
  });
  const lines = spec.mark === 'line' || spec.mark === 'area' ? names.map((_, of) => path(marks.filter((mark) => mark.series === of), of, zero)) : [];
  const every = Math.ceil(labels.length / 10);
  return {
    marks,
    paths: spec.mark === 'line' ? lines.map((line) => ({ ...line, area: '' })) : lines,
    names,
    xs: labels.flatMap((text, index) => (index % every === 0 ? [{ at: middle(text), text: short(text) }] : [])),
    ys: ticks(low, high).map((value) => ({ at: y(value), text: value.toLocaleString(undefined, { notation: 'compact' }) })),
    zero,
    left: points.length - drawn.length,
  };
}

const short = (text: string): string => (text.length > 14 ? `${text.slice(0, 13)}…` : text);

function bounds(values: number[]): [number, number] {
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  return low === high ? [0, 1] : [low, high];
}

/** Round numbers between the bounds. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low) / TICKS;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: TICKS + 2 }, (_, index) => first + index * step).filter((value) => value <= high + step / 1e6);
}

function path(marks: Mark[], series: number, zero: number): { series: number; line: string; area: string } {
  const line = marks.map((mark, index) => `${index === 0 ? 'M' : 'L'}${mark.x.toFixed(1)} ${mark.y.toFixed(1)}`).join('');
  const [first, last] = [marks[0], marks.at(-1)];
  const area = first && last ? `${line}L${last.x.toFixed(1)} ${zero.toFixed(1)}L${first.x.toFixed(1)} ${zero.toFixed(1)}Z` : '';
  return { series, line, area };
}

function pie(points: { x: string; y: number }[], all: number): Drawing | null {
  const parts = points.filter((point) => point.y > 0);
  const total = parts.reduce((sum, point) => sum + point.y, 0);
  if (total <= 0) return null;
  const [cx, cy, r] = [WIDTH / 2, HEIGHT / 2, HEIGHT / 2 - 16];
  let angle = -Math.PI / 2;
  const corner = (at: number): string => `${(cx + r * Math.cos(at)).toFixed(1)} ${(cy + r * Math.sin(at)).toFixed(1)}`;
  const marks = parts.map((point, index): Mark => {
    const share = point.y / total;
    const [from, to] = [angle, angle + share * Math.PI * 2];
    angle = to;
    const whole = share > 0.9999;
    const shape = whole
      ? `M${cx - r} ${cy}A${r} ${r} 0 1 1 ${cx + r} ${cy}A${r} ${r} 0 1 1 ${cx - r} ${cy}Z`
      : `M${cx} ${cy}L${corner(from)}A${r} ${r} 0 ${share > 0.5 ? 1 : 0} 1 ${corner(to)}Z`;
    return { label: `${point.x}: ${point.y.toLocaleString()} (${Math.round(share * 100)} %)`, series: index, x: cx, y: cy, width: 0, height: 0, path: shape };
  });
  return { marks, paths: [], names: parts.map((point) => point.x), xs: [], ys: [], zero: 0, left: all - parts.length };
}
