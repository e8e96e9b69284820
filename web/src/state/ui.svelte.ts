// What is open on the page.

import type { Session } from '../lib/wire';

/** A conversation that a person wants to be gone; with a project, it is one about that. */
export type Deleting = Pick<Session, 'id' | 'title'> & { project?: string };

let drawer = $state(false);
let search = $state(false);
let deleting = $state.raw<Deleting | null>(null);
let renaming = $state<string | null>(null);

export const ui = {
  get drawer() {
    return drawer;
  },
  set drawer(open: boolean) {
    drawer = open;
  },
  get search() {
    return search;
  },
  set search(open: boolean) {
    search = open;
    if (open) drawer = false;
  },
  /** The conversation that a person is asked about. */
  get deleting() {
    return deleting;
  },
  set deleting(session: Deleting | null) {
    deleting = session;
  },
  /** Where a name is being edited: "list:<id>" or "head:<id>". */
  get renaming() {
    return renaming;
  },
  set renaming(place: string | null) {
    renaming = place;
  },
};
