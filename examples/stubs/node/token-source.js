import { setTimeout as sleep } from 'node:timers/promises';
import { afterGoaway, Backoff, RETRY_MAX_MS } from './backoff.js';
import { explain, msOf } from './failure.js';

const CALL_TIMEOUT_MS = 10_000;

/** What a business call throws when WeChat answers errcode 40001, 40014 or 42001. */
export class TokenRejected extends Error {}

/** There is no token at the moment; the message says why. */
export class NoToken extends Error {}

/** Always holds the newest access_token of one app, as a Lingpai broker pushes it. */
export class TokenSource {
  #dial;
  #appId;
  #silenceMs;
  #observe;
  /** Generation 0: none yet. */
  #state = { generation: '0' };
  /** When the first message of this stream came. */
  #opened;
  /** Under way, by generation. */
  #reports = new Map();
  /** The last report that the broker refused: it may be repeated after `until`. */
  #refused = { generation: '0', until: 0 };

  /**
   * dial makes a new connection to the broker. Each stream and each call has one of its own: one that is open and passes nothing any
   * more, as behind a middle box that forgot it, is then never used again. silenceMs: for how long a stream may say nothing, 2.5 times
   * the broker's heartbeat. observe(event, fields) is told of what happens, never of a token's value.
   */
  constructor(dial, appId, silenceMs, observe) {
    [this.#dial, this.#appId, this.#silenceMs, this.#observe] = [dial, appId, silenceMs, observe];
  }

  /** The newest token: value, a secret; id, its name in logs; generation. Throws NoToken. */
  token() {
    const { current, generation, status, statusReason } = this.#state;
    if (!current) throw new NoToken(`no token of ${this.#appId}: ${nameOf(status)} ${statusReason ?? ''}`);
    return { value: current.value, id: current.id, generation };
  }

  /** Asks for the token once, so that a service starts with one in hand. */
  async load() {
    const { state } = await this.#ask('get', { appId: this.#appId });
    this.#keep('get', state);
  }

  /**
   * Makes a business call with the newest token. When WeChat refused that token, reports it to the broker and repeats the business
   * call once with the token that came instead. When none came, the refusal is thrown: the token is good (STILL_VALID) and the cause
   * lies elsewhere, or the broker cannot replace it now.
   */
  async call(business) {
    const used = this.token();
    try {
      return await business(used.value);
    } catch (refusal) {
      if (!(refusal instanceof TokenRejected) || !(await this.#report(used)) || !this.#isNewerThan(used)) throw refusal;
    }
    return business(this.token().value);
  }

  /** Watches the app until the signal aborts, reconnecting as often as it takes. */
  async run(signal) {
    const pauses = new Backoff();
    for (let reconnect = false; !signal.aborted; reconnect = true) {
      this.#opened = undefined;
      let pause;
      try {
        pause = await this.#watch(reconnect, signal);
      } catch (error) {
        if (signal.aborted) return;
        // It lived for a heartbeat: 10 s of 25.
        const lived = this.#opened !== undefined && performance.now() - this.#opened >= 0.4 * this.#silenceMs;
        if (lived) pauses.failures = 0;
        const failure = explain(error);
        pause = pauses.after(failure, lived);
        this.#observe('error', { ...failure.fields('watch', pause), failures: pauses.failures });
      }
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  }

  /** Reads one stream until a goaway and returns the pause that the broker asks for, in milliseconds; throws on any other end. */
  async #watch(reconnect, signal) {
    const known = this.#state.current ? { [this.#appId]: this.#state.generation } : {};
    const { client, metadata } = this.#dial();
    const stream = client.watchToken({ appIds: [this.#appId], knownGenerations: known }, metadata);
    let isSilent = false;
    const watchdog = setTimeout(() => ((isSilent = true), stream.cancel()), this.#silenceMs);
    const cancel = () => stream.cancel();
    signal.addEventListener('abort', cancel);
    try {
      for await (const message of stream) {
        watchdog.refresh();
        if (this.#opened === undefined) {
          this.#opened = performance.now();
          const fields = { known_generation: Number(known[this.#appId] ?? 0), sent_state: message.event === 'state' };
          if (reconnect) this.#observe('reconnect', fields);
        }
        if (message.event === 'state') this.#keep('state', message.state);
        if (message.event === 'removed') this.#drop();
        if (message.event === 'goaway') {
          const pause = afterGoaway(msOf(message.goaway.reconnectAfter));
          this.#observe('goaway', { reconnect_after_ms: Math.round(pause) });
          return pause;
        }
      }
      throw new Error('the stream ended');
    } catch (error) {
      throw isSilent ? new Error('nothing came for so long that the stream must be dead') : error;
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', cancel);
      stream.cancel();
      client.close();
    }
  }

  /** Tells the broker that WeChat refused a token, and returns whether there is another to use. All callers with one token share one report. */
  #report(used) {
    const shared = this.#reports.get(used.generation);
    if (shared) return shared;
    const report = this.#forceRefresh(used).finally(() => this.#reports.delete(used.generation));
    this.#reports.set(used.generation, report);
    return report;
  }

  async #forceRefresh(used) {
    if (this.#isNewerThan(used)) return true; // it came while the call was under way
    const { generation, until } = this.#refused;
    if (generation === used.generation && performance.now() < until) return false;
    try {
      const { outcome, state } = await this.#ask('forceRefresh', { appId: this.#appId, rejectedToken: used.value });
      this.#observe('force_refresh', { outcome: nameOf(outcome), rejected_id: used.id });
      this.#keep('state', state);
      return nameOf(outcome) !== 'STILL_VALID';
    } catch (error) {
      // COOLDOWN, for instance: the token is kept, and reported again no sooner than the broker says.
      const failure = explain(error);
      this.#observe('error', failure.fields('force_refresh'));
      this.#refused = {
        generation: used.generation,
        until: performance.now() + Math.min(failure.retryAfterMs, RETRY_MAX_MS),
      };
      return false;
    }
  }

  async #ask(method, request) {
    const { client, metadata } = this.#dial();
    try {
      return await new Promise((done, fail) => {
        const deadline = Date.now() + CALL_TIMEOUT_MS;
        client[method](request, metadata, { deadline }, (error, answer) => (error ? fail(error) : done(answer)));
      });
    } finally {
      client.close();
    }
  }

  #isNewerThan(used) {
    return this.#state.current && BigInt(this.#state.generation) > BigInt(used.generation);
  }

  /** Replaces what is held, also by the same generation, whose status may be another now, but never by an older one: answers may overtake one another. */
  #keep(event, state) {
    if (BigInt(state.generation) < BigInt(this.#state.generation)) return;
    this.#state = state;
    this.#observe(event, {
      app: state.appId,
      generation: Number(state.generation),
      token_id: state.current?.id ?? '',
      previous_id: state.previous?.id ?? '',
      status: nameOf(state.status),
      status_reason: state.statusReason ?? '',
    });
  }

  #drop() {
    this.#state = { generation: '0' };
    this.#observe('removed', { app: this.#appId });
  }
}

/** An enum's value without its prefix: FRESH, STILL_VALID. A number when a later broker added it. */
function nameOf(value) {
  return String(value ?? 'PENDING').replace(/^(TOKEN_STATUS|FORCE_REFRESH_OUTCOME)_/, '');
}
