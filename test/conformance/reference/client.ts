import type { GetResponse, WatchTokenResponse } from '../../../src/gen/lingpai/v1/token_pb.js';
import { type Connection, dial, parseTarget, SLOW, type Target, type TransportKind, toFault } from './connection.ts';
import { type App, type Event, Holdings, idOf, LONGEST_MS } from './holdings.ts';
import { type Report, Reports } from './reports.ts';
import { atLeast, type Broken, backoff, Fault, type Held, slowPause, TIMING, type Timing } from './rules.ts';

export interface Options extends Target {
  readonly apps: readonly string[];
  readonly startTimeoutMs?: number;
  readonly startOptional?: boolean;
  readonly timing?: Partial<Timing>;
}

/** How an attempt at the stream ended. */
type End =
  | { readonly kind: 'goaway'; readonly afterMs: number }
  | { readonly kind: 'reopen' }
  | { readonly kind: 'failed'; readonly fault: Fault; readonly livedMs: number | undefined };

/** The reference client of clients/SPEC.md: small and plain, a second opinion. Each attempt and each call has a connection of its own. */
export class ReferenceClient {
  readonly events: Event[] = [];
  readonly #options: Options;
  readonly #kind: TransportKind;
  readonly #timing: Timing;
  readonly #broken: Broken;
  readonly #holdings: Holdings;
  readonly #closing = new AbortController();
  readonly #connections = new Set<Connection>();
  readonly #waiters = new Set<() => void>();
  readonly #reports: Reports;
  #reopen: AbortController | undefined;
  #kept: Connection | undefined;
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #isLive = false;
  #wasLive = false;
  #isStarting = true;
  #startFault: Fault | undefined;
  #lastFault: Fault | undefined;
  #counts = { attempts: 0, reconnects: 0, goaways: 0 };

  private constructor(options: Options, kind: TransportKind, broken: Broken) {
    parseTarget(options);
    const [tell, wake] = [(event: Event) => this.#tell(event), () => this.#wake()];
    this.#holdings = new Holdings(broken, this.#closing.signal, tell, wake);
    if (options.apps.length < 1 || options.apps.length > 10_000)
      throw new Fault('Configuration', 'apps: name 1 to 10000');
    for (const id of options.apps) {
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(id))
        throw new Fault('Configuration', `apps: ${JSON.stringify(id)} is no app id`);
      this.#holdings.apps.set(id, {
        held: undefined,
        reason: 'WAITING',
        generation: 0n,
        isMissing: false,
        timer: undefined,
      });
    }
    this.#options = options;
    this.#kind = kind;
    this.#timing = { ...TIMING, ...options.timing };
    this.#broken = broken;
    this.#reports = new Reports({
      ...{ holdings: this.#holdings, broken, retryCapMs: this.#timing.retryCapMs, tell },
      wait: (ms) => this.#pause(ms),
      unary: (exchange) => this.#unary(exchange),
    });
  }

  /** R4. */
  static async start(options: Options, kind: TransportKind, broken: Broken): Promise<ReferenceClient> {
    const client = new ReferenceClient(options, kind, broken);
    const isOptional = options.startOptional === true;
    if (isOptional) client.#isStarting = false;
    client.#running = client.#run();
    if (isOptional) return client;
    const isOver = () =>
      client.#startFault !== undefined || [...client.#holdings.apps.values()].every(({ held }) => held !== undefined);
    const ms = broken('start-waits-for-ever') ? LONGEST_MS : (options.startTimeoutMs ?? 10_000);
    const isInTime = await client.#until(isOver, ms);
    client.#isStarting = false;
    if (isInTime && client.#startFault === undefined) return client;
    if (!broken('failed-start-leaks')) await client.close();
    if (client.#startFault !== undefined) throw client.#startFault;
    const lacking = [...client.#holdings.apps].filter(([, { held }]) => held === undefined).map(([id]) => id);
    const last = client.#lastFault;
    const why = last === undefined ? '' : `; the last error: ${last.code} ${last.reason ?? ''} ${last.message}`;
    throw new Fault('StartTimeout', `no token of ${lacking.join(', ')} in ${ms} ms${why}`);
  }

  /** Resolves once a generation of at least that is held. */
  async wait(id: string, generation: bigint, ms: number): Promise<Held> {
    const app = this.#holdings.of(id);
    const isThere = () => (app.held !== undefined && app.held.generation >= generation) || this.#closing.signal.aborted;
    if (!(await this.#until(isThere, ms))) {
      throw new Fault('NoToken', `${id}: generation ${generation} did not come in ${ms} ms`, {
        reason: 'TIMEOUT',
        appId: id,
      });
    }
    return this.#holdings.token(id);
  }

  /** R1, R3: the token held. Throws NoToken or Closed. */
  token(id: string): Held {
    return this.#holdings.token(id);
  }

  /** R11. */
  report(id: string, refused: { generation: bigint; value?: string | undefined }): Promise<Report> {
    return this.#reports.report(id, refused);
  }

  /** R12: `use` is given a token, and throws a Fault of kind Rejected where WeChat refused it. */
  call<Result>(id: string, use: (token: Held) => Promise<Result>): Promise<Result> {
    return this.#reports.call(id, use);
  }

  stats(): Record<string, unknown> {
    const apps = Object.fromEntries(
      [...this.#holdings.apps].map(([id, { held, reason, generation }]) => {
        if (held === undefined)
          return [id, { state: reason === 'WAITING' ? 'WAITING' : 'NONE', generation: `${generation}`, reason }];
        return [id, { state: 'HELD', generation: `${held.generation}`, tokenId: idOf(held.value), reason: '' }];
      }),
    );
    const lost = this.#wasLive ? 'STALE' : 'CONNECTING';
    const state = this.#closing.signal.aborted ? 'CLOSED' : this.#isLive ? 'LIVE' : lost;
    return { state, ...this.#counts, reports: this.#reports.count, apps };
  }

  /** R15. */
  async close(): Promise<void> {
    if (this.#closed !== undefined && this.#broken('close-once')) throw new Error('closed twice');
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    for (const { timer } of this.#holdings.apps.values()) clearTimeout(timer);
    if (!this.#broken('close-leaks-socket')) for (const connection of this.#connections) connection.close();
    this.#wake();
    await this.#running;
    this.#tell({ type: 'closed' });
  }

  #tell(event: Event): void {
    this.events.push(event);
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** False when the time was over first. */
  #until(isSo: () => boolean, ms: number): Promise<boolean> {
    if (isSo()) return Promise.resolve(true);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const end = (was: boolean) => {
      clearTimeout(timer);
      this.#waiters.delete(look);
      resolve(was);
    };
    const look = () => {
      if (isSo()) end(true);
    };
    const timer = setTimeout(end, Math.min(ms, LONGEST_MS), false);
    this.#waiters.add(look);
    return promise;
  }

  /** Ends early at close, and when `isOver` says so after a wake. */
  async #pause(ms: number, isOver = () => false): Promise<void> {
    const isClosed = () => this.#closing.signal.aborted && !this.#broken('close-waits-for-backoff');
    await this.#until(() => isClosed() || isOver(), ms);
  }

  // The stream.

  async #run(): Promise<void> {
    let failures = 0;
    let slow = 0;
    while (!this.#closing.signal.aborted) {
      const wanted = [...this.#holdings.apps].filter(([, { isMissing }]) => !isMissing).map(([id]) => id);
      if (wanted.length === 0) {
        await this.#pause(LONGEST_MS, () => [...this.#holdings.apps.values()].some(({ isMissing }) => !isMissing));
        continue;
      }
      const end = await this.#attempt(wanted);
      this.#isLive = false;
      if (this.#closing.signal.aborted) break;
      if (end.kind === 'goaway') {
        this.#counts.goaways += 1;
        this.#tell({ type: 'goaway', afterMs: end.afterMs });
        const { backoffFloorMs, goawayCapMs } = this.#timing;
        if (!this.#broken('goaway-at-once'))
          await this.#pause(Math.min(Math.max(end.afterMs, backoffFloorMs), goawayCapMs));
      }
      if (end.kind !== 'failed') continue;
      const { fault, livedMs } = end;
      this.#lastFault = fault;
      if (livedMs !== undefined) slow = 0;
      const isGood = livedMs !== undefined && livedMs >= this.#timing.lifeMs && !this.#broken('failures-not-forgiven');
      if (isGood || (livedMs !== undefined && this.#broken('backoff-reset-at-first-message'))) failures = 0;
      if (this.#isStarting && this.#endsStart(fault)) {
        this.#startFault = fault;
        this.#wake();
        return;
      }
      if (this.#leavesOut(fault)) continue;
      if (this.#broken('outage-empties'))
        for (const id of this.#holdings.apps.keys()) this.#holdings.empty(id, 'WAITING');
      const isSlow = SLOW.has(fault.code) && !(fault.reason === 'CREDENTIALS_EXPIRED' && livedMs !== undefined);
      if (isSlow && this.#broken('refused-empties'))
        for (const id of this.#holdings.apps.keys()) this.#holdings.empty(id, 'WAITING');
      const isLast = isSlow
        ? this.#broken('stops-when-refused')
        : fault.message === 'the stream ended' && this.#broken('clean-end-is-the-end');
      let pauseMs = backoff(failures, this.#timing, this.#broken);
      failures += 1;
      if (isSlow && !this.#broken('no-slow-lane')) {
        pauseMs = Math.max(pauseMs, slowPause(slow, this.#timing));
        slow += 1;
      }
      if (!this.#broken('retry-info-ignored')) pauseMs = atLeast(pauseMs, fault.retryMs, this.#timing);
      this.#tell({
        type: 'error',
        during: 'watch',
        code: fault.code,
        reason: fault.reason,
        retryInMs: Math.round(pauseMs),
      });
      await this.#pause(isLast ? LONGEST_MS : pauseMs);
    }
  }

  #endsStart({ code }: Fault): boolean {
    if (this.#broken('start-fails-at-once')) return true;
    if (code === 'NOT_FOUND' && this.#broken('start-drops-unknown-app')) return false;
    return ['NOT_FOUND', 'INVALID_ARGUMENT', 'UNAUTHENTICATED'].includes(code);
  }

  /** R10: true where the fault named an app that is now left out. */
  #leavesOut({ code, reason, appId }: Fault): boolean {
    const app = this.#holdings.apps.get(appId);
    if (code !== 'NOT_FOUND' || app === undefined || app.isMissing || this.#broken('bad-app-starves')) return false;
    app.isMissing = true;
    this.#holdings.empty(appId, 'NOT_FOUND');
    this.#tell({ type: 'error', during: 'watch', code, reason, app: appId, retryInMs: this.#timing.appRetryMs });
    if (!this.#broken('bad-app-forgotten')) void this.#askFor(appId, app);
    return true;
  }

  async #askFor(id: string, app: App): Promise<void> {
    for (;;) {
      await this.#pause(this.#timing.appRetryMs);
      if (this.#closing.signal.aborted) return;
      let answer: GetResponse | undefined;
      try {
        answer = await this.#unary(({ client }, signal) => client.get({ appId: id }, { signal }));
      } catch (error) {
        const { code, reason, appId } = toFault(error);
        if (this.#closing.signal.aborted) return;
        const isKnown = appId === id && !['NOT_FOUND', 'PERMISSION_DENIED', 'UNAUTHENTICATED'].includes(code);
        if (!isKnown || this.#broken('pending-app-left-out')) {
          this.#tell({ type: 'error', during: 'get', code, reason, app: id, retryInMs: this.#timing.appRetryMs });
          continue;
        }
      }
      app.isMissing = false;
      app.reason = 'WAITING';
      if (answer?.state !== undefined) this.#holdings.take(answer.state, answer.serverTime, false);
      this.#reopen?.abort();
      this.#wake();
      return;
    }
  }

  async #attempt(appIds: string[]): Promise<End> {
    this.#counts.attempts += 1;
    const reopen = new AbortController();
    this.#reopen = reopen;
    const silence = new AbortController();
    const signal = AbortSignal.any([reopen.signal, silence.signal, this.#closing.signal]);
    let watchdog: NodeJS.Timeout | undefined;
    const feed = () => {
      clearTimeout(watchdog);
      if (!this.#broken('no-watchdog')) watchdog = setTimeout(() => silence.abort(), this.#timing.silenceMs);
    };
    if (!this.#broken('watchdog-after-first-message')) feed();
    let connection: Connection | undefined;
    let livingSince: number | undefined;
    let burst = Number.NEGATIVE_INFINITY;
    let goawayMs: number | undefined;
    let fault = new Fault('Rpc', 'the stream ended', { code: 'UNAVAILABLE' });
    try {
      connection = this.#kept ?? (await this.#dial(signal));
      this.#kept = undefined;
      const knownGenerations = Object.fromEntries(this.#holdings.known(appIds));
      for await (const message of connection.client.watchToken({ appIds, knownGenerations }, { signal })) {
        if (signal.aborted) break;
        if (!(message.event.case === 'heartbeat' && this.#broken('heartbeats-do-not-feed'))) feed();
        if (livingSince === undefined) this.#live();
        livingSince ??= performance.now();
        if (this.#broken('unknown-event-is-fatal') && message.event.case === undefined)
          throw new Error('unknown event');
        if (message.event.case === 'goaway') {
          const after = message.event.value.reconnectAfter;
          goawayMs = after === undefined ? 0 : Number(after.seconds) * 1_000 + after.nanos / 1e6;
          break;
        }
        const isBurst = performance.now() - burst < 100;
        burst = performance.now();
        if (!(isBurst && this.#broken('first-of-a-burst'))) this.#hear(message);
      }
    } catch (error) {
      fault = toFault(error);
    } finally {
      clearTimeout(watchdog);
      const isGoaway = goawayMs !== undefined && this.#broken('goaway-same-connection');
      if (connection !== undefined && (isGoaway || this.#broken('same-connection')) && !this.#closing.signal.aborted) {
        this.#kept = connection;
      } else if (connection !== undefined) this.#hangUp(connection);
    }
    if (goawayMs !== undefined) return { kind: 'goaway', afterMs: goawayMs };
    if (reopen.signal.aborted) return { kind: 'reopen' };
    if (silence.signal.aborted) fault = new Fault('Rpc', 'the stream was silent', { code: 'DEADLINE_EXCEEDED' });
    return { kind: 'failed', fault, livedMs: livingSince === undefined ? undefined : performance.now() - livingSince };
  }

  #live(): void {
    this.#isLive = true;
    if (this.#wasLive) {
      this.#counts.reconnects += 1;
      this.#tell({ type: 'reconnect' });
    }
    this.#wasLive = true;
  }

  // What was heard.

  #hear({ event, serverTime }: WatchTokenResponse): void {
    if (event.case === 'state') this.#holdings.take(event.value, serverTime, this.#broken('older-taken-from-stream'));
    if (event.case === 'removed' && this.#holdings.apps.has(event.value.appId) && !this.#broken('removed-ignored')) {
      this.#holdings.empty(event.value.appId, 'REMOVED');
      if (!this.#broken('removed-keeps-generation')) this.#holdings.of(event.value.appId).generation = 0n;
    }
  }

  // Calls.

  /** A call on a connection of its own, which is closed at its end. */
  async #unary<Answer>(exchange: (connection: Connection, signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), this.#timing.callMs);
    const signal = AbortSignal.any([late.signal, this.#closing.signal]);
    let connection: Connection | undefined;
    try {
      connection = await this.#dial(signal);
      return await exchange(connection, signal);
    } catch (error) {
      if (late.signal.aborted) throw new Fault('Rpc', 'the call ran out of time', { code: 'DEADLINE_EXCEEDED' });
      throw error;
    } finally {
      clearTimeout(timer);
      if (connection !== undefined) this.#hangUp(connection);
    }
  }

  async #dial(signal: AbortSignal): Promise<Connection> {
    const connection = await dial(this.#options, this.#kind, this.#timing.connectMs, signal, this.#broken);
    this.#connections.add(connection);
    return connection;
  }

  #hangUp(connection: Connection): void {
    if (this.#broken('close-leaks-socket') && this.#closing.signal.aborted) return;
    if (this.#broken('failed-start-leaks') && this.#isStarting) return;
    connection.close();
    this.#connections.delete(connection);
  }
}
