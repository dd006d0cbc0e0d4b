import { ForceRefreshOutcome } from '../../../src/gen/lingpai/v1/token_pb.js';
import { type Connection, toFault } from './connection.ts';
import { CLOSED, type Event, type Holdings } from './holdings.ts';
import { type Broken, Fault, type Held } from './rules.ts';

export interface Report {
  readonly outcome: string;
  readonly held: Held;
}

/** What reports need of their client. */
export interface Parts {
  readonly holdings: Holdings;
  readonly broken: Broken;
  readonly retryCapMs: number;
  readonly tell: (event: Event) => void;
  readonly wait: (ms: number) => Promise<void>;
  readonly unary: <Answer>(
    exchange: (connection: Connection, signal: AbortSignal) => Promise<Answer>,
  ) => Promise<Answer>;
}

/** A refused token: reports of it, and the call that is made once more (R11, R12). */
export class Reports {
  /** ForceRefresh calls. */
  count = 0;
  readonly #holdings: Holdings;
  readonly #broken: Broken;
  readonly #retryCapMs: number;
  readonly #tell: Parts['tell'];
  readonly #wait: Parts['wait'];
  readonly #unary: Parts['unary'];
  readonly #reports = new Map<string, Promise<Report>>();
  readonly #refusals = new Map<string, { fault: Fault; until: number }>();

  constructor({ holdings, broken, retryCapMs, tell, wait, unary }: Parts) {
    [this.#holdings, this.#broken, this.#retryCapMs] = [holdings, broken, retryCapMs];
    [this.#tell, this.#wait, this.#unary] = [tell, wait, unary];
  }

  /** R11. */
  async report(id: string, refused: { generation: bigint; value?: string | undefined }): Promise<Report> {
    if (this.#holdings.isClosed) throw CLOSED();
    const { held } = this.#holdings.of(id);
    if (held !== undefined && refused.generation < held.generation) return { outcome: 'NEWER_HELD', held };
    const key = `${id} ${refused.generation}`;
    const refusal = this.#refusals.get(key);
    if (refusal !== undefined && performance.now() < refusal.until && !this.#broken('reports-again-in-cooldown')) {
      throw refusal.fault;
    }
    this.#refusals.delete(key);
    const flight = this.#reports.get(key);
    if (flight !== undefined && !this.#broken('reports-not-shared')) return flight;
    const own = this.#forceRefresh(id, refused, key).finally(() => {
      if (this.#reports.get(key) === own) this.#reports.delete(key);
    });
    this.#reports.set(key, own);
    return own;
  }

  /** R12: `use` is given a token, and throws a Fault of kind Rejected where WeChat refused it. */
  async call<Result>(id: string, use: (token: Held) => Promise<Result>): Promise<Result> {
    const first = this.#holdings.token(id);
    try {
      return await use(first);
    } catch (error) {
      if (!(error instanceof Fault) || error.kind !== 'Rejected' || this.#broken('no-second-attempt')) throw error;
      let outcome: string;
      try {
        ({ outcome } = await this.report(id, first));
      } catch (refusal) {
        const fault = toFault(refusal);
        if (this.#broken('raises-the-report-error')) throw fault;
        if (!this.#broken('sleeps-for-cooldown') || fault.retryMs === 0) throw error;
        await this.#wait(Math.min(fault.retryMs, 3_000));
        outcome = 'COOLDOWN';
      }
      const newest = this.#holdings.of(id).held;
      const isNewer = newest !== undefined && newest.generation > first.generation && outcome !== 'STILL_VALID';
      if (this.#broken('retries-still-valid') && outcome === 'STILL_VALID') return await use(first);
      if (!isNewer && outcome !== 'COOLDOWN') throw error;
      if (this.#broken('repeats-the-same-token')) return await use(first);
      if (!this.#broken('third-attempt')) return await use(newest ?? first);
      return await use(newest ?? first).catch(() => use(newest ?? first));
    }
  }

  async #forceRefresh(
    id: string,
    { generation, value }: { generation: bigint; value?: string | undefined },
    key: string,
  ) {
    this.count += 1;
    const named =
      value === undefined
        ? { case: 'rejectedGeneration' as const, value: generation }
        : { case: 'rejectedToken' as const, value };
    const rejected = this.#broken('report-names-nothing') ? { case: undefined } : named;
    try {
      const answer = await this.#unary(({ client }, signal) =>
        client.forceRefresh({ appId: id, rejected }, { signal }),
      );
      if (answer.state !== undefined)
        this.#holdings.take(answer.state, answer.serverTime, this.#broken('older-taken-from-report'));
      const outcome = ForceRefreshOutcome[answer.outcome] ?? 'UNSPECIFIED';
      this.#tell({ type: 'report', app: id, outcome });
      return { outcome, held: this.#holdings.token(id) };
    } catch (error) {
      const fault = toFault(error);
      if (this.#holdings.isClosed) throw CLOSED();
      if (fault.kind !== 'Rpc') throw fault;
      const retryMs = Math.min(fault.retryMs, this.#retryCapMs);
      if (retryMs > 0) this.#refusals.set(key, { fault, until: performance.now() + retryMs });
      this.#tell({
        type: 'error',
        during: 'report',
        app: id,
        code: fault.code,
        reason: fault.reason,
        retryInMs: retryMs,
      });
      if (this.#broken('value-in-error')) throw new Fault('Rpc', `${fault.message} (${value})`, fault);
      throw fault;
    }
  }
}
