import { describe, expect, it } from 'vitest';
import type { AuditLine } from '../../src/core/access/audit-line.ts';
import { AuditWriter } from '../../src/ops/audit-writer.ts';
import type { LineOutput } from '../../src/ops/line-writer.ts';
import { FakeClock } from '../support/clock.ts';

/** An output that takes what it is told to: all, some bytes of each write, nothing, or it fails, or it never answers. */
class FakeOutput implements LineOutput {
  readonly most: number;
  takes: number | Error | 'never' = Number.POSITIVE_INFINITY;
  text = '';
  writes = 0;
  closed = false;

  constructor(most = 4_096) {
    this.most = most;
  }

  async write(lines: Buffer, from: number): Promise<number> {
    this.writes++;
    if (this.takes instanceof Error) throw this.takes;
    if (this.takes === 'never') return new Promise(() => {});
    const to = Math.min(lines.length, from + this.takes);
    this.text += lines.toString('utf8', from, to);
    return to;
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  get lines(): { event: string; app_id: string; count: number }[] {
    const lines = this.text.split('\n');
    expect(lines.pop()).toBe('');
    return lines.map((line) => JSON.parse(line));
  }
}

function setup(output = new FakeOutput()) {
  const clock = new FakeClock();
  const told: string[] = [];
  const writer = new AuditWriter({
    output,
    clock,
    onLost: (lines) => {
      lost.count += lines;
    },
    onTrouble: (error) => told.push(error instanceof Error ? error.message : 'nobody reads'),
    onRecovered: (count) => told.push(`recovered, ${count} lost`),
  });
  const lost = { count: 0 };
  const write = (appId: string) => writer.write(line(appId));
  return { clock, output, writer, told, lost, write };
}

function line(appId: string): AuditLine {
  return { event: 'token.reported', appId, count: 1, first: 0, last: 0 };
}

/** A line of about 2 KB. */
const BIG: AuditLine = { event: 'token.reported', caller: 'x'.repeat(1_900), count: 1, first: 0, last: 0 };

it('writes lines in their order, several together, and never more than the output takes as a whole', async () => {
  const output = new FakeOutput(1_000);
  const sizes: number[] = [];
  const { write: into } = output;
  output.write = (lines, from) => {
    sizes.push(lines.length);
    return into.call(output, lines, from);
  };
  const { clock, write } = setup(output);
  for (let i = 0; i < 30; i++) write(`wx${i}`);
  await clock.advance(0);
  expect(output.lines.map(({ app_id }) => app_id)).toEqual(Array.from({ length: 30 }, (_, i) => `wx${i}`));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000);
  expect(sizes.length).toBeLessThan(15);
  expect(clock.pending).toBe(0);
});

it('goes on where a write stopped in the middle of a line', async () => {
  const { clock, output, write } = setup();
  output.takes = 7;
  write('wx1');
  write('wx2');
  await clock.advance(0);
  expect(output.lines.map(({ app_id }) => app_id)).toEqual(['wx1', 'wx2']);
});

describe('what fails', () => {
  it('waits, is not writable, and is written when that is possible again', async () => {
    const { clock, output, writer, told, lost, write } = setup();
    output.takes = new Error('ENOSPC');
    write('wx1');
    await clock.advance(0);
    expect([writer.writable, told]).toEqual([false, ['ENOSPC']]);
    for (let i = 0; i < 50; i++) {
      write('wx2');
      await clock.advance(200);
    }
    expect(output.writes).toBeLessThan(15);
    output.takes = Number.POSITIVE_INFINITY;
    await clock.advance(1_000);
    expect(output.lines.map(({ app_id }) => app_id)).toEqual(['wx1', ...Array(50).fill('wx2')]);
    expect([writer.writable, told, lost.count]).toEqual([true, ['ENOSPC', 'recovered, 0 lost'], 0]);
    expect(clock.pending).toBe(0);
  });

  it('beyond 8 MiB is lost and counted, and a line says so afterwards', async () => {
    const { clock, output, writer, told, lost } = setup();
    output.takes = new Error('ENOSPC');
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 10_000; i++) writer.write(BIG);
    await clock.advance(5_000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
    expect(lost.count).toBeGreaterThan(5_000);
    output.takes = Number.POSITIVE_INFINITY;
    await clock.advance(1_000);
    const { lines } = output;
    expect(lines.at(-1)).toMatchObject({ event: 'audit.lost', count: lost.count });
    expect(lines.length - 1 + lost.count).toBe(10_000);
    // Loss was noticed before the failure was.
    expect([writer.writable, told]).toEqual([true, ['nobody reads', `recovered, ${lost.count} lost`]]);
  });
});

describe('what nobody reads', () => {
  it('is writable for 5 s, and again when it has been read', async () => {
    const { clock, output, writer, told, lost, write } = setup();
    output.takes = 0;
    write('wx1');
    await clock.advance(4_990);
    expect(writer.writable).toBe(true);
    await clock.advance(50);
    expect([writer.writable, told]).toEqual([false, ['nobody reads']]);
    output.takes = Number.POSITIVE_INFINITY;
    await clock.advance(20);
    expect([writer.writable, told, lost.count]).toEqual([true, ['nobody reads', 'recovered, 0 lost'], 0]);
  });

  it('but little by little is no trouble', async () => {
    const { clock, output, writer, told, write } = setup();
    for (let i = 0; i < 20; i++) {
      output.takes = 0;
      write('wx1');
      await clock.advance(1_000);
      output.takes = Number.POSITIVE_INFINITY;
      await clock.advance(20);
    }
    expect([writer.writable, told, output.lines.length]).toEqual([true, [], 20]);
  });
});

describe('close', () => {
  it('writes what waits', async () => {
    const { clock, output, writer, lost, write } = setup();
    write('wx1');
    write('wx2');
    await writer.close();
    expect([output.lines.length, output.closed, lost.count, clock.pending]).toEqual([2, true, 0, 0]);
  });

  it('tries once more what failed', async () => {
    const { clock, output, writer, lost, write } = setup();
    output.takes = new Error('ENOSPC');
    write('wx1');
    await clock.advance(0);
    output.takes = Number.POSITIVE_INFINITY;
    await writer.close();
    expect([output.lines.length, output.closed, lost.count, clock.pending]).toEqual([1, true, 0, 0]);
  });

  it.each([new Error('ENOSPC'), 0, 'never'] as const)('counts as lost what cannot be written: %s', async (takes) => {
    const { clock, output, writer, lost, write } = setup();
    output.takes = takes;
    for (let i = 0; i < 3; i++) write('wx1');
    await clock.advance(0);
    const closed = writer.close();
    await clock.advance(500);
    await closed;
    expect([lost.count, output.closed, clock.pending]).toEqual([3, true, 0]);
  });
});
