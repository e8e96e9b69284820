// What is being written, kept for each conversation until it is sent.

import { read, write } from '../lib/storage';

const key = (id: string): string => `colloquy.draft.${id}`;

export const readDraft = (id: string): string => read(key(id)) ?? '';
export const writeDraft = (id: string, text: string): void => write(key(id), text);
