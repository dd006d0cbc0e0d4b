import { createHash } from 'node:crypto';
import { type TokenState, TokenStatus, type WatchTokenResponse } from '../../../src/gen/lingpai/v1/token_pb.js';
import { type Broken, Fault, generationOf, type Held, lifeMs } from './rules.ts';

/** What is known of an app. */
export interface App {
  held: Held | undefined;
  /** Why there is none; WAITING until something was said. */
  reason: string;
  /** The broker's own, of a token that is not there. */
  words?: string;
  /** The highest generation that was said, also of a token that is over. */
  generation: bigint;
  /** R10: the broker does not know it, and the stream goes without it. */
  isMissing: boolean;
  timer: NodeJS.Timeout | undefined;
}

/** What setTimeout takes. */
export const LONGEST_MS = 2 ** 31 - 1;

export const CLOSED = () => new Fault('Closed', 'the client was closed');

/** A token's name. */
export const idOf = (value: string) => createHash('sha256').update(value).digest('hex').slice(0, 12);

export type Event = { readonly type: string } & Record<string, unknown>;

/** What a reference client holds of its apps (R2, R3, R10). */
export class Holdings {
  readonly apps = new Map<string, App>();
  readonly #broken: Broken;
  readonly #closing: AbortSignal;
  readonly #tell: (event: Event) => void;
  readonly #wake: () => void;

  constructor(broken: Broken, closing: AbortSignal, tell: (event: Event) => void, wake: () => void) {
    [this.#broken, this.#closing, this.#tell, this.#wake] = [broken, closing, tell, wake];
  }

  get isClosed(): boolean {
    return this.#closing.aborted;
  }

  of(id: string): App {
    const app = this.apps.get(id);
    if (app === undefined) throw new Fault('Configuration', `${id} is none of this client's apps`);
    return app;
  }

  /** R1, R3: the token held. Throws NoToken or Closed. */
  token(id: string): Held {
    if (this.#closing.aborted) throw CLOSED();
    const app = this.of(id);
    if (
      app.held !== undefined &&
      (performance.now() < app.held.until || this.#broken('no-expiry') || this.#broken('wall-clock'))
    ) {
      return app.held;
    }
    const reason = app.held === undefined ? app.reason : 'EXPIRED';
    throw new Fault('NoToken', `${id} has no token: ${reason} ${app.words ?? ''}`, { reason, appId: id });
  }

  known(appIds: string[]): [string, bigint][] {
    if (this.#broken('no-known-generations')) return [];
    return appIds.flatMap((id): [string, bigint][] => {
      const { held, generation } = this.of(id);
      if (held !== undefined) return [[id, held.generation]];
      return this.#broken('known-after-expiry') && generation > 0n ? [[id, generation]] : [];
    });
  }

  /** R2, R3. */
  take(state: TokenState, serverTime: WatchTokenResponse['serverTime'], isOlderTaken: boolean): void {
    const app = this.apps.get(state.appId);
    const generation = generationOf(state, this.#broken);
    if (app === undefined || this.#closing.aborted) return;
    if (generation < app.generation && !isOlderTaken) return;
    if (generation === app.generation && generation > 0n && this.#broken('equal-refused')) return;
    app.generation = generation;
    const isOver = state.status === TokenStatus.EXPIRED && !this.#broken('expired-status-ignored');
    const isUnknown = !(state.status in TokenStatus) && this.#broken('unknown-status-refused');
    if (state.current === undefined || isOver || isUnknown) {
      if (!this.#broken('expired-status-ignored')) {
        this.empty(state.appId, state.status === TokenStatus.PENDING ? 'PENDING' : 'EXPIRED', state.statusReason);
      }
      return;
    }
    const life =
      this.#broken('wall-clock') && state.current.expireTime !== undefined
        ? Number(state.current.expireTime.seconds) * 1_000 - Date.now()
        : lifeMs(state.current, serverTime);
    if (life <= 0) {
      this.empty(state.appId, 'EXPIRED', state.statusReason);
      return;
    }
    const isPrevious = this.#broken('previous-chosen') && state.previous !== undefined;
    const value = isPrevious && state.previous !== undefined ? state.previous.value : state.current.value;
    const was = app.held;
    const now = performance.now();
    const previous = state.previous && { value: state.previous.value, until: now + lifeMs(state.previous, serverTime) };
    app.held = { value, generation, previous, until: now + life };
    app.reason = '';
    this.#arm(state.appId, app);
    if (this.#broken('value-on-stderr')) process.stderr.write(`took ${value}\n`);
    if (was?.generation !== generation) {
      const secret = this.#broken('value-in-event') ? { value } : {};
      const reason = state.statusReason;
      this.#tell({
        type: 'state',
        app: state.appId,
        state: 'HELD',
        generation: `${generation}`,
        tokenId: idOf(value),
        reason,
        ...secret,
      });
    }
    this.#wake();
  }

  #arm(id: string, app: App): void {
    clearTimeout(app.timer);
    if (this.#broken('no-expiry') || app.held === undefined || app.held.until === Number.POSITIVE_INFINITY) return;
    const left = app.held.until - performance.now();
    app.timer = setTimeout(
      () => (left > LONGEST_MS ? this.#arm(id, app) : this.empty(id, 'EXPIRED')),
      Math.min(left, LONGEST_MS),
    );
  }

  empty(id: string, reason: string, words = ''): void {
    const app = this.of(id);
    clearTimeout(app.timer);
    const isSame = app.held === undefined && app.reason === reason;
    app.held = undefined;
    app.reason = reason;
    app.words = words;
    if (!isSame) this.#tell({ type: 'state', app: id, state: 'NONE', generation: `${app.generation}`, reason, words });
    this.#wake();
  }
}
