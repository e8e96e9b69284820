// What a screen reader is told (politely), and the short notices that everybody sees.

let spoken = $state('');
let notice = $state<{ text: string; kind: 'info' | 'error' } | null>(null);
let timer: ReturnType<typeof setTimeout> | undefined;

const NOTICE_MS = 6_000;

export const announcer = {
  get spoken() {
    return spoken;
  },
  get notice() {
    return notice;
  },
  say(text: string): void {
    // The same words twice are not read twice, unless they differ.
    spoken = text === spoken ? `${text}\u00a0` : text;
  },
  show(text: string, kind: 'info' | 'error' = 'info'): void {
    notice = { text, kind };
    clearTimeout(timer);
    timer = setTimeout(() => (notice = null), NOTICE_MS);
  },
  dismiss(): void {
    notice = null;
  },
};

/** Shows why something did not work. */
export function showFailure(what: string, error: unknown): void {
  announcer.show(`${what} ${error instanceof Error ? error.message : ''}`.trim(), 'error');
}
