import type { StoredApp } from '../../../src/core/tokens/ports.ts';
import type { World } from '../../support/world.ts';
import type { Findings } from './findings.ts';
import type { StoreMode } from './scenario.ts';
import type { Truth } from './truth.ts';

const SLOW_MS = 1_500;

/** A store that works, fails or is slow, keeps its past, and sees that saves of one app do not overlap. */
export class Disk {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #findings: Findings;
  readonly #past = new Map<string, { record: StoredApp; offset: number }[]>();
  readonly #saving = new Map<string, number>();
  readonly #refused = new Set<string>();
  /** How far ahead the broker's clock was by which each record's times are written. */
  readonly offsets = new Map<string, number>();
  mode: StoreMode = 'works';
  /** Writes so far. */
  saves = 0;

  constructor(world: World, truth: Truth, findings: Findings) {
    this.#world = world;
    this.#truth = truth;
    this.#findings = findings;
  }

  /** Whether the app's newest record is not on the disk, as far as the broker was told. */
  refused(appId: string): boolean {
    return this.#refused.has(appId);
  }

  record(appId: string): StoredApp | undefined {
    return this.#world.store.records.get(appId);
  }

  /** The process died: its saves ended with it. */
  died(): void {
    this.#saving.clear();
    this.#refused.clear();
  }

  lose(): void {
    this.#world.store.records.clear();
  }

  /** Puts the record back by up to `steps` writes. */
  rollBack(steps: number): void {
    for (const [appId, past] of this.#past) {
      const old = past.at(-1 - steps) ?? past[0];
      if (!old) continue;
      this.#world.store.records.set(appId, old.record);
      this.offsets.set(appId, old.offset);
    }
  }

  async save(app: StoredApp): Promise<void> {
    const { appId } = app;
    this.saves++;
    const saving = (this.#saving.get(appId) ?? 0) + 1;
    this.#findings.law('saves of one app never overlap', saving === 1, () => appId);
    this.#saving.set(appId, saving);
    const offset = this.#truth.offset();
    if (this.mode === 'slow') {
      await new Promise<void>((resolve) => this.#world.clock.schedule(SLOW_MS, resolve));
    } else await undefined;
    this.#saving.set(appId, (this.#saving.get(appId) ?? 1) - 1);
    if (this.mode === 'fails') {
      this.#refused.add(appId);
      throw new Error('the disk is full');
    }
    this.#refused.delete(appId);
    this.offsets.set(appId, offset);
    const record = structuredClone(app);
    this.#world.store.records.set(appId, record);
    const past = this.#past.get(appId) ?? [];
    this.#past.set(appId, past);
    past.push({ record, offset });
    if (past.length > 8) past.shift();
  }
}
