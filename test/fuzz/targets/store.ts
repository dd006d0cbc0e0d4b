import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StoredApp } from '../../../src/core/tokens/ports.ts';
import { systemClock } from '../../../src/ops/clock.ts';
import { StoreError } from '../../../src/store/errors.ts';
import { openStore, recordsOf } from '../../../src/store/open.ts';
import { decodeOutcome, encodeOutcome } from '../../../src/store/outcome.ts';
import { decodeRecord, encodeRecord } from '../../../src/store/record.ts';
import { FORM, form, REFUSED, SENT, send, settlement } from '../../store/ledger-support.ts';
import type { Draw } from '../draw.ts';
import type { Target } from '../target.ts';

const APP = 'wx1';
const TOKEN = 'a-token-value-that-nobody-may-see';
const NOW = systemClock.now();

const record: StoredApp = {
  appId: APP,
  issuer: 'classic',
  generation: NOW,
  current: { value: TOKEN, id: '0123456789ab', issueTime: NOW, expireTime: NOW + 7_200_000 },
  previous: null,
  budget: { day: 20_000, mints: 1, forced: 0 },
  lastMintTime: NOW,
  lastForcedTime: 0,
  openMints: 0,
};

/** The record, or another of its fields. */
function changed(draw: Draw): string {
  const fields: Record<string, unknown> = { ...record };
  for (let i = draw.below(3); i > 0; i--)
    fields[draw.pick([...Object.keys(record), 'shared', '__proto__'])] = draw.json(3);
  return draw.mutated(Buffer.from(draw.oneIn(6) ? JSON.stringify(draw.json(3)) : JSON.stringify(fields))).toString();
}

/** Lets a StoreError pass that shows no token. */
function expected(error: unknown): void {
  if (!(error instanceof StoreError)) throw error;
  if (error.message.includes(TOKEN)) throw new Error('an error shows a token');
}

/** Records as they may stand in any store: each is read whole or is a StoreError. */
export const records: Target = {
  name: 'stored records',
  share: 315,
  async open() {
    const outcomes = [SENT, REFUSED].map((outcome) => Buffer.from(encodeOutcome(outcome)));
    return {
      take(draw) {
        try {
          const text = changed(draw);
          if (encodeRecord(decodeRecord(APP, text, 'the store')).length > 10 * text.length + 1_000)
            throw new Error('a record grew when it was read');
        } catch (error) {
          expected(error);
        }
        try {
          decodeOutcome(
            draw.oneIn(4) ? JSON.stringify(draw.json(3)) : draw.mutated(draw.pick(outcomes)).toString(),
            'the store',
          );
        } catch (error) {
          expected(error);
        }
      },
      [Symbol.asyncDispose]: async () => {},
    };
  },
};

/** Makes the file of a store with some of everything in it. */
async function original(folder: string): Promise<Buffer> {
  const path = join(folder, 'original.db');
  const opened = await openStore({ kind: 'sqlite', path }, DEPS);
  const { ledger } = opened;
  await recordsOf(opened).save(record);
  await ledger.deposit(APP, [form('f1', { expireTime: null }), form('f2', { expireTime: null })]);
  for (const [i, outcome] of [SENT, REFUSED].entries()) {
    const sending = send({ key: `k${i}`, permit: FORM });
    await ledger.begin(sending);
    await ledger.settle(sending.sendId, settlement(outcome));
  }
  await opened.close();
  return readFileSync(path);
}

const DEPS = { clock: systemClock, random: Math.random, onDamage: () => undefined };

/** Damaged files: a store opens or does not, and what it does not do is a StoreError. */
export const files: Target = {
  name: 'store files',
  share: 5,
  async open() {
    const folder = mkdtempSync(join(tmpdir(), 'lingpai-fuzz-'));
    const bytes = await original(folder);
    const path = join(folder, 'damaged.db');
    return {
      async take(draw) {
        const damaged = draw.oneIn(8) ? bytes.subarray(0, draw.below(bytes.length)) : Buffer.from(bytes);
        for (let i = draw.below(20); i > 0 && damaged.length > 0; i--) {
          // Half of it in the head and the first page, which say what all else is.
          const at = draw.below(draw.oneIn(2) ? Math.min(512, damaged.length) : damaged.length);
          damaged[at] = draw.below(256);
        }
        for (const suffix of ['-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true });
        writeFileSync(path, damaged, { mode: 0o600 });
        if (draw.oneIn(8)) writeFileSync(`${path}-wal`, draw.bytes(200));
        await use(path);
      },
      [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
    };
  },
};

async function all(pages: AsyncIterable<unknown>): Promise<void> {
  for await (const page of pages) void page;
}

async function use(path: string): Promise<void> {
  const opened = await openStore({ kind: 'sqlite', path }, DEPS).catch((error: unknown) => expected(error));
  if (!opened) return;
  const { ledger, rows } = opened;
  const store = recordsOf(opened);
  const uses: (() => Promise<unknown>)[] = [
    () => store.load(),
    () => ledger.recover(NOW, ''),
    () => ledger.count(APP, undefined, NOW),
    () => ledger.begin(send({ key: 'k0' })),
    () => ledger.deposit(APP, [form('f3')]),
    () => ledger.purge(NOW),
    () => store.save(record),
    () => all(rows.dump()),
  ];
  try {
    for (const each of uses) await each().catch(expected);
  } finally {
    await opened.close().catch(expected);
  }
}
