import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Middlebox } from '../support/middlebox.ts';
import { until } from '../support/until.ts';
import { type Entry, KitBroker, type Watch } from './broker.ts';
import { Driver, type DriverCommand, DriverError, type Ok } from './driver.ts';

/** The clocks of the libraries in the scenarios, in milliseconds: those of clients/SPEC.md, scaled. */
export const timing = {
  silenceMs: 1_000,
  connectMs: 800,
  callMs: 1_500,
  backoffBaseMs: 50,
  backoffCapMs: 1_000,
  backoffFloorMs: 10,
  lifeMs: 1_000,
  goawayCapMs: 1_500,
  retryCapMs: 30_000,
  slowMs: 800,
  slowCapMs: 3_000,
  appRetryMs: 600,
};

/** What a loaded machine may add to a moment by which something has to happen, in milliseconds. */
export const slackMs = 2_500;

/** What a timer may be early, in milliseconds: clocks of two processes. */
export const earlyMs = 25;

/** What is measured, by name. */
export type Figures = Record<string, number>;

/** The app of most scenarios. */
export const app = 'wx1';

/** A driver before a broker, with a box in between, for one scenario. */
export class Stage implements AsyncDisposable {
  readonly name: string;
  readonly broker: KitBroker;
  readonly box: Middlebox;
  readonly driver: Driver;
  readonly hello: Ok;
  readonly folder: string;
  /** What the scenario has measured. */
  readonly figures: Figures = {};

  private constructor(name: string, broker: KitBroker, box: Middlebox, driver: Driver, hello: Ok, folder: string) {
    this.name = name;
    this.broker = broker;
    this.box = box;
    this.driver = driver;
    this.hello = hello;
    this.folder = folder;
  }

  static async set(name: string, command: DriverCommand, env: Record<string, string>): Promise<Stage> {
    const broker = await KitBroker.start();
    const driver = new Driver(name, command, env);
    try {
      const hello = await driver.ask('hello');
      const box = await Middlebox.before(broker.address(hello.transport));
      const folder = await mkdtemp(join(tmpdir(), 'lingpai-conformance-'));
      return new Stage(name, broker, box, driver, hello, folder);
    } catch (error) {
      await driver[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Makes a client, and waits until its start is over. */
  create(options: Readonly<Record<string, unknown>> = {}, client = 'a'): Promise<Ok> {
    const { timing: scaled = {}, ...rest } = options as { timing?: object };
    const target = `http://127.0.0.1:${this.box.port}`;
    return this.driver.ask('create', {
      client,
      options: { target, apps: [app], ...rest, timing: { ...timing, ...scaled } },
    });
  }

  ask(op: string, fields: Readonly<Record<string, unknown>> = {}): Promise<Ok> {
    return this.driver.ask(op, { client: 'a', app, ...fields });
  }

  /** Waits until a generation is held. */
  held(generation: bigint | number, timeoutMs = slackMs, of = app): Promise<Ok> {
    return this.ask('wait', { app: of, generation: String(generation), timeoutMs: Math.ceil(timeoutMs) });
  }

  /** Waits until so many streams were asked for. */
  async watches(count: number, withinMs = slackMs): Promise<Entry[]> {
    await until(withinMs, () => {
      const { length } = this.broker.of('watch');
      return length >= count ? undefined : `${length} of ${count} streams were asked for`;
    });
    return this.broker.of('watch');
  }

  /** The stream that is open, once one is. */
  async stream(): Promise<Watch> {
    await until(slackMs, () => (this.broker.open.size > 0 ? undefined : 'no stream is open'));
    const last = [...this.broker.open].at(-1);
    assert.ok(last);
    return last;
  }

  /** Waits until a read finds no token, and gives the reason. */
  async none(reason: string, withinMs = slackMs, of = app): Promise<DriverError> {
    let error: DriverError | undefined;
    await until(withinMs, async () => {
      error = await refused(this.ask('token', { app: of }));
      return error.kind === 'NoToken' && error.reason === reason
        ? undefined
        : `a read says ${error.kind || 'a token'} ${error.reason}, not NoToken ${reason}`;
    });
    assert.ok(error);
    return error;
  }

  /** Waits until the driver has no more files and threads open than before. */
  async noMore({ files, threads }: Ok): Promise<void> {
    await until(4_000, async () => {
      const now = await this.ask('leaks');
      return now.files <= files && now.threads <= threads
        ? undefined
        : `${now.files} files and ${now.threads} threads, before ${files} and ${threads}`;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.driver[Symbol.asyncDispose]();
    await this.box[Symbol.asyncDispose]();
    await this.broker[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The error that a request was answered with; one without a kind where it succeeded. */
export async function refused(request: Promise<Ok>): Promise<DriverError> {
  try {
    await request;
  } catch (error) {
    if (error instanceof DriverError) return error;
    throw error;
  }
  return new DriverError('it succeeded', {});
}

/** Asserts that a request was answered with an error of a kind, and gives it. */
export async function fails(request: Promise<Ok>, kind: string, what: Partial<DriverError> = {}): Promise<DriverError> {
  const error = await refused(request);
  assert.equal(error.kind, kind, error.message);
  for (const [name, value] of Object.entries(what))
    assert.deepEqual(error[name as keyof DriverError], value, `${name} of ${error.message}`);
  return error;
}

/** How long something took, in milliseconds. */
export async function took(work: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work;
  return performance.now() - start;
}

export function atMost(ms: number, bound: number, what: string): void {
  assert.ok(ms <= bound, `${what} after ${Math.round(ms)} ms, more than ${Math.round(bound)}`);
}

export function atLeast(ms: number, bound: number, what: string): void {
  assert.ok(ms >= bound - earlyMs, `${what} after ${Math.round(ms)} ms, less than ${Math.round(bound)}`);
}
