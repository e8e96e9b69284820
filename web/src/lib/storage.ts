// Small things kept in this browser. Every access may be refused, and nothing depends on it.

export function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function write(key: string, value: string | null): void {
  try {
    if (value === null || value === '') localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Full or closed.
  }
}

export function tabStorage(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

/** Removes what a person wrote here, for the next one who signs in. */
export function forgetWritings(): void {
  for (const open of [() => localStorage, () => sessionStorage]) {
    try {
      const storage = open();
      for (const key of Object.keys(storage)) {
        if (key.startsWith('colloquy.draft.') || key.startsWith('colloquy.outbox.')) storage.removeItem(key);
      }
    } catch {
      // Nothing to forget.
    }
  }
}
