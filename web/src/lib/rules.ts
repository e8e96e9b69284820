// The rules API: what its answers are, and the requests of the page.

import { json, send } from './api';
import { base } from './base';

export type CellType = 'integer' | 'float' | 'decimal' | 'text' | 'boolean' | 'date' | 'timestamp' | 'json' | 'bytes';
export interface Column {
  name: string;
  type: CellType;
}
export type Row = Record<string, unknown>;

export interface ChartSpec {
  mark: 'bar' | 'line' | 'area' | 'point' | 'pie';
  x: string;
  y: string;
  series?: string;
  title?: string;
}

/** The terminal answer of a run. */
export interface Answer {
  type: 'rule_result' | 'error';
  message: string;
  rule: string;
  run_id?: string;
  status?: 'done' | 'pending' | 'question';
  code?: string;
  sql?: string;
  version?: number;
  view?: string;
  rows?: number;
  truncated?: boolean;
  ms?: number;
  columns?: Column[];
  preview?: Row[];
  title?: string;
  explanation?: string;
  assumptions?: string[];
  chart?: ChartSpec;
  question?: string;
  options?: string[];
  repairs: number;
}

export interface Rule {
  rule_code: string;
  slug: string;
  name: string;
  description: string;
  logic: string;
  source: 'file' | 'text';
  status: 'new' | 'approved' | 'pending' | 'stale' | 'failed';
  version: number | null;
  sql: string | null;
  view: string | null;
  rows: number | null;
  last_run_at: string | null;
}

export interface Version {
  version: number;
  source: 'model' | 'person' | 'file';
  sql: string;
  hash: string;
  state: 'draft' | 'approved' | 'rejected' | 'stale';
  relations: string[];
  functions: string[];
  columns: string[];
  title: string;
  explanation: string;
  assumptions: string[];
  cost: number | null;
}

export interface Run {
  run_id: string;
  rule: string;
  version: number | null;
  state: string;
  started_at: string | null;
  ms: number | null;
  rows: number | null;
  truncated: boolean;
  table: string | null;
  error: string | null;
  relations: Record<string, number>;
  added: number | null;
  removed: number | null;
  result?: Answer;
}

export interface Relation {
  name: string;
  description?: string;
  rows?: number;
  columns?: { name: string; type: string; primary_key?: boolean; references?: string; description?: string }[];
}
export interface DataSet {
  engine: string;
  sample: boolean;
  relations: Relation[];
  policy: 'auto' | 'preview' | 'approve';
  fenced: boolean;
  limits: { rows: number; seconds: number };
  file_fault: string | null;
}

/** What was forbidden, probed, decided, stored or removed, by whom and with which SQL. */
export interface AuditEntry {
  at: string;
  account: string;
  rule: string;
  kind: 'forbidden' | 'probed' | 'approved' | 'rejected' | 'stored' | 'deleted';
  detail: string;
}

/** Seconds that one request waits for its run; then the run is asked after. */
const WAIT_S = 25;
const ASK_AGAIN_MS = 1_000;

const path = (rule: string): string => `rules/${encodeURIComponent(rule)}`;

export const dataSet = (): Promise<DataSet> => json('rules/dataset');
export const auditLog = (): Promise<AuditEntry[]> => json('rules/dataset/audit');
export const listRules = (): Promise<Rule[]> => json('rules');
export const getRule = (rule: string): Promise<Rule> => json(path(rule));
export const versionsOf = (rule: string): Promise<Version[]> => json(`${path(rule)}/versions`);
export const runsOf = (rule: string): Promise<Run[]> => json(`${path(rule)}/runs?limit=20`);
export const getRun = (run: string): Promise<Run> => json(`rules/runs/${run}`);
export const refresh = (rule: string): Promise<Run> => ended(`${path(rule)}/refresh`, {});
export const approve = (rule: string, version: number, hash: string): Promise<Run> =>
  ended(`${path(rule)}/versions/${version}/approve`, { hash });
export const reject = (rule: string, version: number, hash: string): Promise<Version> =>
  json(`${path(rule)}/versions/${version}/reject`, { method: 'POST', body: { hash } });
export const newVersion = (rule: string, sql: string): Promise<Version> =>
  json(`${path(rule)}/versions`, { method: 'POST', body: { sql } });
export const remove = (rule: string): Promise<void> => send(path(rule), { method: 'DELETE' });
export const cancel = (ruleId: string): Promise<void> => send(`rules/runs/${ruleId}/cancel`, { method: 'POST', body: {} });

export interface Wish {
  rule_code: string;
  rule_id: string;
  preview: boolean;
  fresh?: boolean;
  answer?: string;
}

/** Begins a run and waits for its end, however long it takes. */
async function ended(at: string, body: Record<string, string>): Promise<Run> {
  let run = await json<Partial<Run> & { run_id: string }>(`${at}?wait=${WAIT_S}`, { method: 'POST', body });
  while (run.state === undefined || ['waiting', 'pending', 'running'].includes(run.state)) {
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    run = await getRun(run.run_id);
  }
  return run as Run;
}

/** Runs a rule to its terminal answer, however long it takes. */
export async function run(wish: Wish): Promise<Answer> {
  let answer = await json<Answer | { run_id: string }>(`rules/run?wait=${WAIT_S}`, { method: 'POST', body: wish });
  while (!('type' in answer)) {
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    const { result } = await getRun(answer.run_id as string);
    if (result) answer = result;
  }
  return answer;
}

export interface Order {
  column: string;
  descending: boolean;
}

export const rowsOf = (table: string, offset: number, limit: number, order: Order | null): Promise<Row[]> => {
  const fields = new URLSearchParams({ offset: String(offset), limit: String(limit) });
  if (order) fields.set('order', (order.descending ? '-' : '') + order.column);
  return json(`query/${table}?${fields}`);
};

export const csvHref = (table: string): string => `${base}query/${table}?format=csv&bom=1`;

/** Made anew for each run: by it the server knows a repeat. */
export const newRuleId = (): string => `rule_${Date.now()}`;

/** A cell in words. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

export const isNumeric = (type: CellType | undefined): boolean => type === 'integer' || type === 'float' || type === 'decimal';
