// The conversations that were open last, with what is known of them.

import type { Talk } from './talk.svelte';

const MOST_KEPT = 8;

export class Kept<T extends Talk> {
  #all = new Map<string, T>();

  constructor(private readonly make: (key: string) => T) {}

  get(key: string): T {
    const talk = this.#all.get(key) ?? this.make(key);
    this.#all.delete(key);
    this.#all.set(key, talk);
    for (const old of this.#all.keys()) {
      if (this.#all.size <= MOST_KEPT) break;
      this.#all.delete(old);
    }
    return talk;
  }

  forget(): void {
    for (const talk of this.#all.values()) talk.close();
    this.#all.clear();
  }
}
