// The assistant's API: projects, their conversations and files. Its frames are read in assistant_frames.ts.

import { json, query, send } from './api';
import type { Choice } from './wire';

export interface Project {
  name: string;
  path: string;
  /** Its directory is there. */
  available: boolean;
  /** Only what was registered can be removed here. */
  source: 'settings' | 'registered';
}

export interface Summary {
  /** Unique on the server. */
  id: number;
  project_name: string;
  title: string | null;
  created_at: string;
  updated_at: string;
  message_count: number;
  busy: boolean;
}

export interface Row {
  id: number;
  role: 'user' | 'assistant' | 'system';
  timestamp: string;
  turn_id: string;
}

/** A conversation with everything in it that is finished. */
export interface Detail {
  id: number;
  title: string | null;
  messages: Row[];
  busy: boolean;
  question: { question_id: string; questions: Choice[] } | null;
}

export interface File {
  path: string;
  content: string;
  /** The file is longer than what a person is shown. */
  truncated: boolean;
}

export const PAGE = 50;

const of = (project: string, id?: number): string =>
  `api/assistant/conversations/${encodeURIComponent(project)}${id === undefined ? '' : `/${id}`}`;

export const projects = (): Promise<Project[]> => json('api/projects');
export const project = (name: string): Promise<Project> => json(`api/projects/${encodeURIComponent(name)}`);
export const addProject = (name: string, path: string): Promise<Project> =>
  json('api/projects', { method: 'POST', body: { name, path } });
export const removeProject = (name: string): Promise<void> => send(`api/projects/${encodeURIComponent(name)}`, { method: 'DELETE' });
export const file = (name: string, path: string): Promise<File> =>
  json(`api/projects/${encodeURIComponent(name)}/file${query({ path })}`);

/** Newest first; `before`: only those behind that one. */
export const conversations = (name: string, before?: number): Promise<Summary[]> =>
  json(of(name) + query({ limit: PAGE, before }));
/** Those in which the words occur, likewise. */
export const search = (name: string, words: string): Promise<Summary[]> => json(of(name) + query({ limit: PAGE, q: words }));
export const create = (name: string, clientId: string): Promise<Summary> =>
  json(of(name), { method: 'POST', body: { client_id: clientId } });
export const detail = (name: string, id: number): Promise<Detail> => json(of(name, id));
export const rename = (name: string, id: number, title: string): Promise<Summary> =>
  json(of(name, id), { method: 'PATCH', body: { title } });
export const remove = (name: string, id: number): Promise<void> => send(of(name, id), { method: 'DELETE' });
export const post = (name: string, id: number, content: string, clientId: string): Promise<void> =>
  send(`${of(name, id)}/messages`, { method: 'POST', body: { content, client_id: clientId } });
export const answer = (name: string, id: number, answers: Record<string, string[]>, clientId: string): Promise<void> =>
  send(`${of(name, id)}/answer`, { method: 'POST', body: { answers, client_id: clientId } });
export const cancel = (name: string, id: number): Promise<void> => send(`${of(name, id)}/cancel`, { method: 'POST', body: {} });
