import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Child } from '../support/child.ts';
import { Place } from '../support/lingpai.ts';
import { until } from '../support/until.ts';

const MAIN = join(import.meta.dirname, '../../src/lingpai.js');

/** A process, mostly a broker, whose standard output is a named pipe that is read only when a test does. */
class Unread implements AsyncDisposable {
  readonly #reader: number;
  readonly #filler: number;
  readonly #broker: Child;
  #isClosed = false;
  text = '';

  constructor(folder: string, ...args: string[]) {
    const path = join(folder, 'stdout');
    execFileSync('mkfifo', [path]);
    this.#reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.#filler = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    const own = openSync(path, constants.O_WRONLY);
    this.#broker = new Child({
      name: 'the broker',
      command: [process.execPath, ...args],
      cwd: folder,
      stdout: own,
    });
    closeSync(own);
  }

  static async start(place: Place): Promise<Unread> {
    const broker = new Unread(place.folder, MAIN, 'serve', '--log-level', 'debug');
    await broker.until('ready');
    return broker;
  }

  get http(): string {
    return /"http":"([^"]+)"/.exec(this.text)?.[1] ?? '';
  }

  read(): void {
    const bytes = Buffer.alloc(100_000);
    try {
      for (let n = readSync(this.#reader, bytes); n > 0; n = readSync(this.#reader, bytes))
        this.text += bytes.toString('utf8', 0, n);
    } catch (error) {
      expect(error).toMatchObject({ code: 'EAGAIN' });
    }
  }

  /** Reads until it has written a line with this message. */
  async until(msg: string): Promise<void> {
    await until(20_000, () => {
      this.read();
      return this.text.includes(`"msg":"${msg}"`) ? undefined : `it does not say "${msg}"`;
    });
  }

  /** Leaves no room in the pipe, for a byte. */
  fill(): void {
    for (const size of [1_024, 1]) {
      try {
        while (true) writeSync(this.#filler, `${' '.repeat(size - 1)}\n`);
      } catch (error) {
        expect(error).toMatchObject({ code: 'EAGAIN' });
      }
    }
  }

  /** Ends its reading for good. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#reader);
    closeSync(this.#filler);
  }

  signal(signal: NodeJS.Signals): void {
    this.#broker.signal(signal);
  }

  ended(): Promise<number> {
    return this.#broker.ended();
  }

  /** It logs a line, also where the last refresh was too recent. */
  async refresh(): Promise<void> {
    expect([200, 429]).toContain(await this.#call('ForceRefresh'));
  }

  async get(): Promise<void> {
    expect(await this.#call('Get')).toBe(200);
  }

  async lost(): Promise<number> {
    const metrics = await fetch(`http://${this.http}/metrics`, { signal: AbortSignal.timeout(10_000) });
    return Number(/^lingpai_log_lost_total (\d+)$/m.exec(await metrics.text())?.[1]);
  }

  /** The status of the answer; undefined: there is none. */
  async #call(method: string): Promise<number | undefined> {
    const answer = await fetch(`http://${this.http}/lingpai.v1.TokenService/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"appId":"wxa"}',
      signal: AbortSignal.timeout(5_000),
    }).catch(() => undefined);
    return answer?.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#broker[Symbol.asyncDispose]();
    this.close();
  }
}

it('a broker whose output nobody reads serves, and what it had to say is there for who reads later', async () => {
  await using place = await Place.make();
  await place.configure();
  await using broker = await Unread.start(place);
  await broker.get();
  broker.fill();
  for (let i = 0; i < 10; i++) {
    await broker.refresh();
    await broker.get();
  }
  await until(20_000, () => {
    broker.read();
    return broker.text.split('"msg":"force refresh"').length > 10 ? undefined : 'lines are missing';
  });
  const lines = broker.text.split('\n').filter((line) => line.trim() !== '');
  for (const line of lines) expect(JSON.parse(line)).toBeTypeOf('object');
  expect(await broker.lost()).toBe(0);
});

it.each([
  ['process.exit(3)', 3],
  ['throw new Error("a bug")', 1],
])('what was logged before a process ends by %s is there for who reads', async (end, code) => {
  await using place = await Place.make();
  const log = JSON.stringify(join(import.meta.dirname, '../../src/ops/log.ts'));
  const script = `import { createLogger } from ${log}; const logger = createLogger({ level: 'info' });
    for (let i = 0; i < 3_000; i++) logger.info({ i }, 'line'); logger.info('last'); ${end}`;
  await using ending = new Unread(place.folder, '--input-type=module', '-e', script);
  await ending.until('last');
  expect(await ending.ended()).toBe(code);
  expect(ending.text.split('\n').filter((line) => line !== '').length).toBe(3_001);
});

it('ends though nobody ever reads', async () => {
  await using place = await Place.make();
  await place.configure();
  await using broker = await Unread.start(place);
  broker.fill();
  broker.signal('SIGTERM');
  expect(await broker.ended()).toBe(0);
});

it('serves on, and ends, when its reader is gone', async () => {
  await using place = await Place.make();
  await place.configure();
  await using broker = await Unread.start(place);
  broker.close();
  for (let i = 0; i < 3; i++) {
    await broker.refresh();
    await broker.get();
  }
  broker.signal('SIGTERM');
  expect(await broker.ended()).toBe(0);
});
