// The page of one rule: what was asked, what came of it, and what there is of it on the server.

import * as api from '../lib/rules';
import type { Answer, DataSet, Rule, Run, Version } from '../lib/rules';
import { ApiError } from '../lib/api';
import { announcer, showFailure } from './announce.svelte';

export class RulePage {
  data = $state.raw<DataSet | null>(null);
  /** Why there is no data set. */
  fault = $state<string | null>(null);
  rules = $state.raw<Rule[]>([]);
  text = $state('');
  busy = $state(false);
  answer = $state.raw<Answer | null>(null);
  version = $state.raw<Version | null>(null);
  runs = $state.raw<Run[]>([]);
  /** Why the newest run gave no rows, while those of an earlier one are shown. */
  trouble = $state<string | null>(null);
  /** The rule whose result is shown. */
  slug = $state<string | null>(null);
  #ruleId = '';

  /** `mayApprove`: whoever may, previews first. */
  constructor(readonly mayApprove: () => boolean) {}

  async load(): Promise<void> {
    try {
      this.data = await api.dataSet();
      this.fault = null;
    } catch (error) {
      this.fault = error instanceof ApiError ? error.message : 'The data set is not available.';
    }
    await this.list();
  }

  async list(): Promise<void> {
    try {
      this.rules = await api.listRules();
    } catch (error) {
      showFailure('The rules could not be loaded.', error);
    }
  }

  /** Shows what there is of a rule. */
  async open(slug: string | null): Promise<void> {
    if (slug === this.slug) return;
    this.slug = slug;
    this.answer = null;
    this.version = null;
    this.trouble = null;
    this.runs = [];
    if (slug === null) {
      this.text = '';
      return;
    }
    try {
      const rule = await api.getRule(slug);
      if (this.slug !== slug) return;
      this.text = rule.source === 'file' ? rule.rule_code : rule.logic;
      if (rule.status !== 'new') await this.#look(slug);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) this.fault ??= 'There is no such rule.';
      else showFailure('The rule could not be loaded.', error);
    }
  }

  /** Runs what is written; gives the rule's name if something came of it. */
  async run({ answer, fresh = false }: { answer?: string; fresh?: boolean } = {}): Promise<string | null> {
    const text = this.text.trim();
    if (text === '' || this.busy) return null;
    if (answer === undefined) this.#ruleId = api.newRuleId();
    this.busy = true;
    announcer.say('The rule runs.');
    try {
      const wish = { rule_code: text, rule_id: this.#ruleId, preview: this.mayApprove(), fresh };
      this.answer = await api.run(answer === undefined ? wish : { ...wish, answer });
      this.version = null;
      this.trouble = null;
      this.slug = this.answer.run_id ? this.answer.rule : this.slug;
      announcer.say(this.answer.message);
      if (this.answer.run_id) await this.#history(this.answer.rule);
      void this.list();
      return this.answer.run_id ? this.answer.rule : null;
    } catch (error) {
      showFailure('The rule could not be run.', error);
      return null;
    } finally {
      this.busy = false;
    }
  }

  async stop(): Promise<void> {
    try {
      await api.cancel(this.#ruleId);
    } catch {
      // It has ended by itself.
    }
  }

  /** Approves the version that is shown, by its hash. */
  async approve(): Promise<void> {
    const { version, slug } = this;
    if (!version || !slug) return;
    await this.#change('The version could not be approved.', async () => {
      const { error } = await api.approve(slug, version.version, version.hash);
      await this.#look(slug);
      announcer.say(error ?? 'Approved and stored.');
    });
  }

  async reject(): Promise<void> {
    const { version, slug } = this;
    if (!version || !slug) return;
    await this.#change('The version could not be rejected.', async () => {
      await api.reject(slug, version.version, version.hash);
      this.answer = null;
      await this.#history(slug);
      announcer.say('Rejected.');
    });
  }

  async refresh(): Promise<void> {
    const { slug } = this;
    if (!slug) return;
    await this.#change('The rule could not be refreshed.', async () => {
      const { error } = await api.refresh(slug);
      await this.#look(slug);
      announcer.say(error ?? 'Refreshed.');
    });
  }

  /** Removes the rule that is shown, with all there is of it. */
  async remove(): Promise<boolean> {
    const { slug } = this;
    if (!slug) return false;
    return this.#change('The rule could not be deleted.', async () => {
      await api.remove(slug);
      announcer.say('The rule is deleted.');
    });
  }

  /** Keeps a query that the person wrote; with the policy `auto` it is stored at once. */
  async write(sql: string): Promise<boolean> {
    const { slug } = this;
    if (!slug) return false;
    return this.#change('The query was refused.', async () => {
      const version = await api.newVersion(slug, sql);
      if (version.state === 'approved') await api.refresh(slug);
      await this.#look(slug);
    });
  }

  /** Whether it worked. */
  async #change(failed: string, work: () => Promise<void>): Promise<boolean> {
    this.busy = true;
    try {
      await work();
      void this.list();
      return true;
    } catch (error) {
      showFailure(failed, error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  async #history(slug: string): Promise<void> {
    const [runs, versions] = await Promise.all([api.runsOf(slug), api.versionsOf(slug)]);
    if (this.slug !== slug) return;
    this.runs = runs;
    const wanted = this.answer?.version;
    this.version = versions.find((version) => version.version === wanted) ?? versions.at(-1) ?? null;
  }

  /**
   * The newest run with its answer, and what belongs to it. If it failed, the rows of an earlier one are still there, and are
   * shown with what went wrong.
   */
  async #look(slug: string): Promise<void> {
    const runs = await api.runsOf(slug);
    const kept = runs.find((run) => run.state === 'done');
    const failed = runs[0]?.error && kept ? runs[0].error : null;
    const shown = failed ? kept : runs[0];
    const result = shown ? (await api.getRun(shown.run_id)).result : null;
    if (this.slug !== slug) return;
    this.answer = result ?? null;
    this.trouble = failed;
    await this.#history(slug);
  }
}
