import { read, write } from '../lib/storage';

export type Theme = 'system' | 'light' | 'dark';
const ORDER: Theme[] = ['system', 'light', 'dark'];

const stored = read('colloquy.theme');
let theme = $state<Theme>(stored === 'light' || stored === 'dark' ? stored : 'system');

export const themes = {
  get current(): Theme {
    return theme;
  },
  next(): void {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length]!;
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    write('colloquy.theme', theme === 'system' ? null : theme);
  },
};
