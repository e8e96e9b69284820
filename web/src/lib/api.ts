// The requests of the app. Every failure is an ApiError with a sentence that can be shown.

import { base } from './base';
import type { Me, Message, Mode, Provider, SearchHit, Session, UnknownCall } from './wire';

export interface FieldFault {
  field: string;
  text: string;
}

export class ApiError extends Error {
  constructor(
    /** The HTTP status; 0 if the server could not be reached. */
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterMs: number | null = null,
    /** What is wrong with which field, if the server says so. */
    readonly fields: readonly FieldFault[] = [],
  ) {
    super(message);
  }
}

let onSignedOut: () => void = () => {};
/** Called whenever a request shows that nobody is signed in. */
export const whenSignedOut = (call: () => void): void => {
  onSignedOut = call;
};

interface Options {
  method?: string;
  body?: unknown;
  idempotencyKey?: string;
  /** Proves more than the cookie does. */
  token?: string;
  /** A 401 is an answer here, not the end of being signed in. */
  mayBeRefused?: boolean;
}

async function request(path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  if (options.idempotencyKey) headers['Idempotency-Key'] = options.idempotencyKey;
  if (options.token) headers.Authorization = `Bearer ${options.token}`;
  let response: Response;
  try {
    response = await fetch(base + path, {
      method: options.method ?? 'GET',
      headers,
      body: options.body === undefined ? null : JSON.stringify(options.body),
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch {
    throw new ApiError(0, 'unreachable', 'The server cannot be reached.');
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401 && !options.mayBeRefused) onSignedOut();
  throw error;
}

/** Reads the sentence out of the error form of any of the server's APIs. */
async function errorOf(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // No JSON, no sentence.
  }
  const fields = faultsOf(body.detail);
  const told = fields.map(({ field, text }) => (field ? `${field}: ${text}` : text)).join('. ');
  const sentence = [told || body.detail, body.error, body.title].find((text) => typeof text === 'string');
  const code = typeof body.code === 'string' ? body.code : 'unknown';
  const after = Number(response.headers.get('Retry-After'));
  const message = (sentence as string | undefined) ?? `The server answered ${response.status}.`;
  return new ApiError(response.status, code, message, after > 0 ? after * 1000 : null, fields);
}

/** Reads a list of `{loc, msg}`, one for each field. */
function faultsOf(detail: unknown): FieldFault[] {
  if (!Array.isArray(detail)) return [];
  return (detail as { loc?: unknown[]; msg?: unknown }[]).flatMap(({ loc, msg }) => {
    if (typeof msg !== 'string') return [];
    return [{ field: String(loc?.at(-1) ?? ''), text: msg.replace(/^Value error, /, '') }];
  });
}

export const json = async <T>(path: string, options?: Options): Promise<T> =>
  (await request(path, options)).json() as Promise<T>;
/** A request whose answer says nothing more. */
export const send = async (path: string, options?: Options): Promise<void> => {
  await request(path, options);
};

export const query = (fields: Record<string, string | number | undefined>): string => {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
};

export type Proof = { code: string } | { token: string } | { username: string; password: string };

export const me = (): Promise<Me> => json('api/me', { mayBeRefused: true });
export const signIn = async (proof: Proof): Promise<void> => {
  await request('api/sign-in', { method: 'POST', body: proof, mayBeRefused: true });
};
export const signOut = async (): Promise<void> => {
  await request('api/sign-out', { method: 'POST', body: {} });
};

/** `q`: only those in whose title or text these words occur. */
export const listSessions = (limit: number, { before, q }: { before?: string; q?: string } = {}): Promise<Session[]> =>
  json(`api/sessions${query({ limit, before, q })}`);
export const getSession = (id: string): Promise<Session> => json(`api/sessions/${id}`);
export const createSession = (
  fields: { mode?: Mode; provider?: string; model?: string },
  idempotencyKey: string,
): Promise<Session> => json('api/sessions', { method: 'POST', body: fields, idempotencyKey });
export const changeSession = (
  id: string,
  fields: { title?: string; mode?: Mode; provider?: string; model?: string },
): Promise<Session> => json(`api/sessions/${id}`, { method: 'PATCH', body: fields });
export const deleteSession = async (id: string): Promise<void> => {
  await request(`api/sessions/${id}`, { method: 'DELETE' });
};
export const search = (q: string, limit: number): Promise<SearchHit[]> =>
  json(`api/sessions/search${query({ q, limit })}`);

export interface Page {
  messages: Message[];
  /** The position in the log that this page stands for. */
  cursor: string | null;
  /** Older messages exist. */
  more: boolean;
}

export async function messages(id: string, limit: number, before?: string): Promise<Page> {
  const response = await request(`api/sessions/${id}/messages${query({ limit, before, include: 'reasoning' })}`);
  const list = (await response.json()) as Message[];
  // A page may be shorter than its limit: messages with nothing to show are left out of it.
  return { messages: list, cursor: response.headers.get('Colloquy-Cursor'), more: list.length >= limit / 2 };
}

export const sendMessage = async (
  chatId: string,
  message: { content: string; clientId: string; mode?: Mode },
): Promise<void> => {
  await request(`api/chats/${chatId}/messages`, { method: 'POST', body: message });
};
export const cancelTurn = async (chatId: string): Promise<void> => {
  await request(`api/chats/${chatId}/cancel`, { method: 'POST', body: {} });
};

/** Calls that were cut off and may have run, about which somebody must decide. */
export const unknownCalls = (chatId: string): Promise<UnknownCall[]> => json(`api/questions${query({ conversation: chatId })}`);
export const answerUnknown = async (id: string, answer: 'rerun' | 'mark_done' | 'skip'): Promise<void> => {
  await request(`api/questions/${id}`, { method: 'POST', body: { answer } });
};

export const providers = (): Promise<Provider[]> => json('api/providers');
export const modelsOf = async (provider: string): Promise<string[]> =>
  (await json<{ models: string[] }>(`api/providers/${encodeURIComponent(provider)}/models`)).models;
