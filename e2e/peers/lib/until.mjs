const PATIENCE_MS = 30_000;
const STEP_MS = 20;

/** What `look` gives, as soon as that is something. */
export async function until(what, look, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`did not happen within ${patience} ms: ${what}`);
    await new Promise((done) => setTimeout(done, STEP_MS));
  }
}
