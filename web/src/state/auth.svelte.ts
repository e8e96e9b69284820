import * as api from '../lib/api';
import { forgetWritings } from '../lib/storage';
import type { Me } from '../lib/wire';

type Phase = 'checking' | 'signed_in' | 'signed_out' | 'unreachable';

let phase = $state<Phase>('checking');
let me = $state.raw<Me | null>(null);
/** Why the sign-in page is shown, if there is more to say than that nobody is signed in. */
let reason = $state<'link_refused' | 'ended' | null>(null);

api.whenSignedOut(() => {
  if (phase === 'signed_in') ended();
});

function ended(): void {
  phase = 'signed_out';
  reason = 'ended';
  me = null;
}

const RECHECK_MS = 2_000;

/** Takes the code out of the address before anything else can see it. */
function takeCode(): string | null {
  const code = /^#code=([^&]+)$/.exec(location.hash)?.[1];
  if (code === undefined) return null;
  history.replaceState(null, '', location.pathname + location.search);
  return decodeURIComponent(code);
}

async function check(): Promise<void> {
  try {
    me = await api.me();
    phase = 'signed_in';
    reason = null;
  } catch (error) {
    const status = error instanceof api.ApiError ? error.status : 0;
    if (status === 401 || status === 403) {
      phase = 'signed_out';
    } else {
      phase = 'unreachable';
      setTimeout(() => phase === 'unreachable' && void check(), RECHECK_MS);
    }
  }
}

export const auth = {
  get phase() {
    return phase;
  },
  get me() {
    return me;
  },
  get reason() {
    return reason;
  },
  ended,
  check,
  async begin(): Promise<void> {
    const code = takeCode();
    if (code !== null) {
      try {
        await api.signIn({ code });
      } catch (error) {
        if (error instanceof api.ApiError && error.status === 401) reason = 'link_refused';
      }
    }
    await check();
  },
  /** Throws what the server says against it. */
  async signIn(proof: api.Proof): Promise<void> {
    await api.signIn(proof);
    await check();
  },
  async signOut(): Promise<void> {
    await api.signOut();
    forgetWritings();
    phase = 'signed_out';
    reason = null;
    me = null;
  },
};
