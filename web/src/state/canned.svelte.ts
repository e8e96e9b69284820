// The canned replies, as last read. No event tells of them, so whoever wants one looks again.

import type { CannedReply } from '../lib/team';
import { cannedReplies } from '../lib/team_requests';
import { showFailure } from './announce.svelte';

let list = $state.raw<CannedReply[] | null>(null);

export const canned = {
  /** Null: not read yet. */
  get list() {
    return list;
  },
  async look(): Promise<void> {
    try {
      list = await cannedReplies();
    } catch (error) {
      if (list === null) showFailure('The canned replies could not be loaded.', error);
    }
  },
  forget(): void {
    list = null;
  },
};
