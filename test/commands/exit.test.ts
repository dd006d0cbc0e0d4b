import { spawnSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { untilSignal } from '../../src/commands/exit.ts';
import type { SignalledProcess } from '../../src/commands/io.ts';
import { FakeClock } from '../support/clock.ts';

/** A process that notes what it says and does. */
class FakeProcess extends EventEmitter implements SignalledProcess {
  readonly did: string[] = [];
  readonly stderr = { write: (text: string) => this.did.push(text) };
  exit = (code: number) => this.did.push(`exit ${code}`);
}

function signalled(stop: () => Promise<void>) {
  const clock = new FakeClock();
  const process = new FakeProcess();
  return { clock, process, ended: untilSignal(stop, process, clock) };
}

it('an older Node is told which one is needed, and no more', () => {
  const lingpai = JSON.stringify(new URL('../../src/lingpai.js', import.meta.url).href);
  const script = `Object.defineProperty(process.versions, 'node', { value: '20.1.0' }); await import(${lingpai})`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: expect.stringMatching(/^lingpai: .* needs 24 or newer.*\n$/),
  });
});

it('stops once at a signal that npm passes on as well', async () => {
  let stops = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const { clock, process, ended } = signalled(() => {
    stops++;
    return promise;
  });
  process.emit('SIGINT');
  await clock.advance(499);
  process.emit('SIGINT');
  expect({ stops, did: process.did }).toEqual({ stops: 1, did: [] });
  resolve();
  await ended;
  expect([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]).toEqual([0, 0]);
});

it('ends at once at a second signal, and says so', async () => {
  const { clock, process } = signalled(() => new Promise(() => undefined));
  process.emit('SIGTERM');
  await clock.advance(500);
  process.emit('SIGINT');
  expect(process.did).toEqual([expect.stringContaining('ending at once'), 'exit 1']);
});
