// The models one may choose from, and the choices for the next new conversation.

import * as api from '../lib/api';
import { read, write } from '../lib/storage';
import { MODES, type Mode, type Provider } from '../lib/wire';

export interface Choice {
  provider: string;
  model: string;
}

let providers = $state.raw<Provider[]>([]);
let loaded = $state(false);

const storedMode = read('colloquy.mode') as Mode | null;
let mode = $state<Mode>(storedMode && MODES.includes(storedMode) ? storedMode : 'build');
let chosen = $state.raw<Choice | null>(null);

const usable = (): Provider[] => providers.filter((provider) => provider.isConfigured !== false && provider.models.length > 0);

export const models = {
  /** Only those that can answer. */
  get providers() {
    return usable();
  },
  /** Whether the server has said what there is. */
  get loaded() {
    return loaded;
  },
  get onlyDemo() {
    const list = usable();
    return list.length > 0 && list.every((provider) => provider.name === 'demo');
  },
  get mode() {
    return mode;
  },
  /** Null: the server's default. */
  get chosen() {
    return chosen;
  },
  get preset(): Choice | null {
    if (chosen) return chosen;
    const list = usable();
    const provider = list.find((one) => one.isDefault) ?? list[0];
    return provider ? { provider: provider.name, model: provider.models[0]! } : null;
  },
  chooseMode(next: Mode): void {
    mode = next;
    write('colloquy.mode', next);
  },
  choose(next: Choice): void {
    chosen = next;
  },
  async load(): Promise<void> {
    try {
      providers = await api.providers();
    } catch {
      // Without a list there is nothing to choose, and the default answers.
    }
    loaded = true;
  },
  /** Asks a provider what it offers now. */
  async refresh(name: string): Promise<void> {
    try {
      const list = await api.modelsOf(name);
      providers = providers.map((one) => (one.name === name && list.length > 0 ? { ...one, models: list } : one));
    } catch {
      // The list that came with the provider stays.
    }
  },
};
