import assert from 'node:assert/strict';
import type { Http2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { Code } from '@connectrpc/connect';
import { ForceRefreshOutcome, TokenStatus } from '../../src/gen/lingpai/v1/token_pb.js';
import type { KitBroker } from '../conformance/broker.ts';
import { Child, type Line } from '../support/child.ts';
import type { Report } from '../support/foreign.ts';
import { Middlebox } from '../support/middlebox.ts';
import { idOf, refusal } from '../support/scripted.ts';
import { HttpProxy } from './http-proxy.ts';
import type { Language } from './languages.ts';
import { type Answers, afterHeartbeat, goaway, type Play, play, scriptedBroker, state, states } from './plays.ts';
import { is } from './scenario.ts';

const appId = 'wx00scripted000001';

/** How long the services let a stream be silent: 16 heartbeats of the scripted broker. */
const silence = ['--silence-seconds', '0.8'];

/** Heartbeats that take longer than a stream must live to count as a good one, which is 0.4 of the silence. */
const goodLife = 12;

/** The longest that `until` waits. */
const standbyDelayMs = 30_000;

/** As large as no signed number of 64 bits is, and no double exactly. */
const generation = 2n ** 63n + 7n;

/** Takes a built example through what only a scripted broker does. Rejects with the first thing that is wrong. */
export async function rules(language: Language, report: Report): Promise<void> {
  await using proxy = await HttpProxy.start();
  await Promise.all([
    streams(language, proxy, report),
    cooldown(language, proxy, report),
    refreshed(language, proxy, report),
  ]);
  assert.equal(proxy.asked, 0, 'a service asked the HTTP proxy of its environment for the broker');
}

/** One service and its broker, with a box between them that can forget their connections. */
class Stage implements AsyncDisposable {
  readonly broker: KitBroker;
  readonly box: Middlebox;
  readonly service: Child;
  readonly #language: Language;

  private constructor(broker: KitBroker, box: Middlebox, service: Child, language: Language) {
    this.broker = broker;
    this.box = box;
    this.service = service;
    this.#language = language;
  }

  static async set(language: Language, proxy: HttpProxy, answers: Answers, ...args: string[]): Promise<Stage> {
    const broker = await scriptedBroker(answers);
    const box = await Middlebox.before(broker.address('grpc'));
    const [file, ...rest] = language.start;
    const service = new Child({
      name: `the ${language.name} service`,
      command: [file, ...rest, '--app', appId, ...silence, ...args],
      cwd: tmpdir(),
      env: { ...proxy.env, ...language.env, LINGPAI_ADDR: `${language.host}:${box.port}` },
    });
    return new Stage(broker, box, service, language);
  }

  /** What each stream does from now on. */
  play(next: Play): void {
    play(this.broker, next);
  }

  /** The next failure of the watch. */
  failure(what: string, fields: Line = {}): Promise<Line> {
    return this.service.next(what, is('error', { during: 'watch', ...fields }));
  }

  /** Waits until a stream is open again and has lived long enough to count as a good one. */
  async settle(): Promise<void> {
    this.play({ next: 'heartbeats' });
    await this.service.next('that it is connected again', is('reconnect'));
    await this.live();
  }

  /** Waits until the stream has lived long enough to count as a good one. */
  async live(): Promise<void> {
    await this.until('its stream lives', () => ([...this.broker.open].at(-1)?.heartbeats ?? 0) >= goodLife);
  }

  /** Waits for something that is true of the broker after a while. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (const end = performance.now() + standbyDelayMs; !holds(); await setTimeout(20)) {
      assert.ok(performance.now() < end, `${this.service.name}: not seen within ${standbyDelayMs / 1000} s: ${what}`);
    }
  }

  /** Ends the service, whatever it waits for. */
  async stop(): Promise<void> {
    this.service.signal('SIGTERM');
    await this.service.next('that it stopped', is('stopped'));
    assert.equal(await this.service.ended(), this.#language.terminatedCode, 'exit code after SIGTERM');
    assert.ok(!this.service.output.includes('secret-'), 'the service printed a token value');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service[Symbol.asyncDispose]();
    await this.box[Symbol.asyncDispose]();
    await this.broker[Symbol.asyncDispose]();
  }
}

async function streams(language: Language, proxy: HttpProxy, report: Report): Promise<void> {
  await using stage = await Stage.set(language, proxy, { get: state(appId, generation, 'secret-1') });
  const { broker, box, service } = stage;
  stage.play(
    states(
      state(appId, generation, 'secret-1', { status: TokenStatus.DEGRADED, statusReason: 'scripted' }),
      state(appId, 5n, 'secret-0'),
      state(appId, generation + 1n, 'secret-2', { status: 99 as TokenStatus }),
    ),
  );
  await service.next('the token from Get', is('get', { token_id: idOf('secret-1') }));
  await service.next('a new status of the same generation', is('state', { status_reason: 'scripted' }));
  await service.next('a newer generation', is('state', { token_id: idOf('secret-2') }));
  assert.ok(!service.output.includes(idOf('secret-0')), 'an older generation replaced a newer one');
  report('the same generation replaces, an older one does not; beyond 2^63, and with a status of a later broker');

  await stage.live();
  const known = broker.of('watch').length;
  stage.play(afterHeartbeat('end'));
  for (const failures of [1, 2, 3]) {
    const failure = await stage.failure(`failure ${failures} in a row`, { failures });
    between(failure.retry_in_ms, 100, 500 * 2 ** (failures - 1));
  }
  await stage.settle();
  stage.play(afterHeartbeat('end'));
  await stage.failure('that a good life was forgiven the failures before it', { failures: 1 });
  report('pauses grow while streams die young, and no longer after a good one');

  await stage.settle();
  const asked = performance.now();
  const left = broker.of('watch').length;
  stage.play(goaway(300));
  await service.next('the goaway', is('goaway', { reconnect_after_ms: 300 }));
  await stage.settle();
  between((broker.of('watch')[left]?.at ?? 0) - asked, 300);
  report('a goaway is waited for');

  box.deaf = true;
  stage.play({ next: 'nothing' });
  for (const what of ['after heartbeats', 'from the start']) await stage.failure(`a silence ${what}`, silent);
  box.deaf = false;
  await stage.settle();
  report('a connection that says nothing is left, a new one too');

  const refused = performance.now();
  const last = broker.of('watch').length;
  stage.play({ next: refusal(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', { retryMs: 700 }) });
  const short = await stage.failure('a refusal', { reason: 'TOO_MANY_WATCHERS' });
  between(short.retry_in_ms, 700, 840);
  await stage.settle();
  between((broker.of('watch')[last]?.at ?? 0) - refused, 700);
  stage.play({ next: refusal(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', { retryMs: 3_600_000 }) });
  const long = await stage.failure('a refusal for long', { reason: 'TOO_MANY_WATCHERS' });
  between(long.retry_in_ms, 300_000, 360_000);
  report('RetryInfo is waited for, up to 5 minutes');

  for (const watch of broker.of('watch').slice(known)) assert.deepEqual(watch.known, { [appId]: generation + 1n });
  assert.equal(new Set(broker.of('watch').map(({ connection }) => connection)).size, broker.of('watch').length);
  await stage.until('every connection is closed', () =>
    language.leavesUnanswered
      ? broker.of('watch').every(({ connection }) => (connection as Http2Session | undefined)?.destroyed)
      : broker.connections === 0,
  );
  report('each stream came on a connection of its own, with what is known, and left none open');
  await stage.stop();
}

async function cooldown(language: Language, proxy: HttpProxy, report: Report): Promise<void> {
  const answers = {
    get: state(appId, 1n, 'secret-1'),
    report: refusal(Code.ResourceExhausted, 'COOLDOWN', { retryMs: 20_000 }),
  };
  await using stage = await Stage.set(language, proxy, answers, '--report-once');
  const { broker, service } = stage;
  await service.next('what the report was answered', is('error', { during: 'force_refresh', reason: 'COOLDOWN' }));
  for (const nth of ['first', 'second', 'third']) {
    const { message } = await service.next(`the ${nth} call's error`, is('error', { during: 'call' }));
    assert.match(String(message), /WeChat refused the access_token/);
  }
  assert.deepEqual(reported(broker), [idOf('secret-1')], 'one report, and none again before RetryInfo says');
  report('COOLDOWN: one report for all callers, who get the error of WeChat');

  stage.play({ next: refusal(Code.Unauthenticated, '') });
  const failure = await stage.failure('that it is not let in', { code: 'UNAUTHENTICATED' });
  between(failure.retry_in_ms, 30_000, 36_000);
  report('what an operator must mend is tried every 30 seconds or later');
  await stage.stop();
}

async function refreshed(language: Language, proxy: HttpProxy, report: Report): Promise<void> {
  const answers = {
    get: state(appId, 1n, 'secret-1'),
    report: { state: state(appId, 2n, 'secret-2'), outcome: ForceRefreshOutcome.REFRESHED },
  };
  await using stage = await Stage.set(language, proxy, answers, '--report-once');
  const { broker, service } = stage;
  for (const nth of ['first', 'second', 'third'])
    await service.next(`that the ${nth} call worked`, is('call', { ok: true }));
  assert.deepEqual(reported(broker), [idOf('secret-1')], 'one report of one token');
  report('REFRESHED: one report for all callers, one of whom came late');

  stage.play(goaway(3_600_000));
  await service.next('a goaway for long', is('goaway', { reconnect_after_ms: 60_000 }));
  report('a goaway is believed up to a minute');
  await stage.stop();
}

const silent = { message: 'nothing came for so long that the stream must be dead' };

/** The ids of the tokens that were reported. */
function reported(broker: KitBroker) {
  return broker.of('report').map(({ rejected }) => rejected);
}

/** Fails unless a number is in the bounds, both included. */
function between(value: unknown, least: number, most = Number.POSITIVE_INFINITY): void {
  assert.ok(Number(value) >= least && Number(value) <= most, `${value} is not between ${least} and ${most}`);
}
