import type { TokenState } from '../../../src/core/tokens/state.ts';
import type { World } from '../../support/world.ts';
import type { Disk } from './disk.ts';
import { type Findings, leaks } from './findings.ts';
import type { Truth } from './truth.ts';

/** The most that a state may be seen after its generation was chosen. */
const BEHIND_MS = 10_000;

/** What one app's keeper has published so far. */
interface Past {
  readonly values: Map<number, string>;
  newest: number;
  /** How far ahead the broker's clock was when `newest` came. */
  newestOffset: number;
  /** The process started on a record older than `newest`: until its next token it cannot know. */
  behind: boolean;
  /** The generation of that record. */
  resumed: number;
  /** The generation of the last state. */
  shown: number;
  held: string | undefined;
}

/** The laws that every state obeys that anyone may see. */
export class Published {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #disk: Disk;
  readonly #findings: Findings;
  readonly #pasts = new Map<string, Past>();

  constructor(world: World, truth: Truth, disk: Disk, findings: Findings) {
    this.#world = world;
    this.#truth = truth;
    this.#disk = disk;
    this.#findings = findings;
  }

  newest(appId: string): number {
    return this.#of(appId).newest;
  }

  /** A token value that was current once and is not now; undefined: there was none. */
  older(appId: string, generation: number): { generation: number; value: string } | undefined {
    for (const [each, value] of this.#of(appId).values) if (each < generation) return { generation: each, value };
    return undefined;
  }

  /** A process or keeper starts on this much: what it has was never less than the record. */
  resumed(appId: string, generation: number, held: string | undefined): void {
    const past = this.#of(appId);
    past.behind = generation < past.newest;
    past.resumed = generation;
    past.held = held;
  }

  check(state: TokenState): void {
    const { appId, generation, current, previous, status, statusReason } = state;
    const past = this.#of(appId);
    this.#findings.law('no reason holds a secret or a token', !leaks(statusReason), () => appId);
    const statuses = current ? ['FRESH', 'DEGRADED'] : [generation === 0 ? 'PENDING' : 'EXPIRED'];
    this.#findings.law('the status fits the token', statuses.includes(status), () => `${appId} ${status}`);
    this.#generation(state, past);
    if (current) this.#current(state, current.value, past);
    else if (past.held !== undefined) {
      const good = this.#truth.surelyGood(past.held);
      this.#findings.law('a good token is never dropped', !good, () => `${appId}: ${status}, ${statusReason}`);
    }
    if (previous) this.#previous(appId, previous, current?.value);
  }

  #generation(state: TokenState, past: Past): void {
    const { appId, generation, current } = state;
    // A record that was lost, and a clock that is behind it: the two together are more than a generation can stand.
    const setBack = this.#truth.offset() < past.newestOffset || this.#world.clock.now() < past.newest + BEHIND_MS;
    const excused = past.behind && (setBack || generation === past.resumed);
    const stands = generation === past.shown || generation >= past.newest || excused;
    this.#findings.law('generation never falls', stands, () => `${appId} ${past.newest} to ${generation}`);
    past.shown = generation;
    if (!current) return;
    const value = past.values.get(generation);
    this.#findings.law(
      'a generation is one token for ever',
      value === undefined || value === current.value || setBack,
      () => `${appId} ${generation}`,
    );
    past.values.set(generation, current.value);
    if (generation <= past.newest) return;
    past.newest = generation;
    past.newestOffset = this.#truth.offset();
    past.behind = false;
    const durable = this.#disk.refused(appId) || (this.#disk.record(appId)?.generation ?? 0) >= generation;
    this.#findings.law('a token is durable before anyone sees it', durable, () => `${appId} ${generation}`);
  }

  #current({ appId, generation }: TokenState, value: string, past: Past): void {
    const fact = this.#truth.fact(value);
    this.#findings.law('only tokens that WeChat issued are published', fact !== undefined, () => appId);
    const before = past.held === undefined ? undefined : this.#truth.fact(past.held);
    const older = before && fact && fact.issuer === before.issuer && fact.issuedAt < before.issuedAt;
    this.#findings.law('an older token never replaces a newer one', !older, () => `${appId} ${generation}`);
    const expired = !this.#truth.unsure && this.#truth.over(value);
    this.#findings.law('no expired token is shown as current', !expired, () => `${appId} ${generation}`);
    past.held = value;
  }

  #previous(appId: string, previous: { value: string; expireTime: number }, current: string | undefined): void {
    this.#findings.law('previous is shown beside another current', previous.value !== current, () => appId);
    if (this.#truth.unseen) return;
    const now = this.#world.clock.now();
    const fact = this.#truth.fact(previous.value);
    this.#findings.law('previous ends with its grace', previous.expireTime >= now - 1, () => appId);
    if (!fact || fact.disturbed || fact.flatteredMs > 0 || previous.expireTime <= now + 1) return;
    const honoured = this.#truth.honoured(appId, previous.value);
    this.#findings.law('previous is honoured by WeChat', honoured, () => appId);
  }

  #of(appId: string): Past {
    const past = this.#pasts.get(appId) ?? {
      values: new Map(),
      newest: 0,
      newestOffset: 0,
      behind: false,
      resumed: 0,
      shown: 0,
      held: undefined,
    };
    this.#pasts.set(appId, past);
    return past;
  }
}
