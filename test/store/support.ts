import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Store, StoredApp, StoredToken } from '../../src/core/tokens/ports.ts';
import { openDatabase } from '../../src/store/database.ts';
import { StoreError } from '../../src/store/errors.ts';
import { storeIn } from '../../src/store/open.ts';

/** What no error may show. */
export const TOKEN = '77_the-token-value-itself';

/** A whole record, changed at will. */
export function record(change: Partial<StoredApp> = {}): StoredApp {
  return {
    appId: 'wx0001',
    issuer: 'stable',
    generation: 1_768_449_600_000,
    current: token(TOKEN),
    previous: null,
    budget: { day: 20_468, mints: 3, forced: 1 },
    lastMintTime: 1_768_449_600_000.25,
    lastForcedTime: 0,
    openMints: 0,
    ...change,
  };
}

/** A stored token of this value. */
export function token(value: string): StoredToken {
  return { value, id: '0123456789ab', issueTime: 1_768_449_600_000.5, expireTime: 1_768_456_800_000.5 };
}

/** A path in a folder of its own, which is removed when the test ends. */
export function newPath(name = 'lingpai.db'): string {
  const folder = mkdtempSync(join(tmpdir(), 'lingpai-store-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, name);
}

/** The store in this file, which is made where there is none. */
export function openAt(path: string): Store {
  return storeIn(openDatabase(path), resolve(path)).local;
}

/** The StoreError with which this fails: it names `file`, says `words` and shows no token. */
export async function expectStoreError(act: () => unknown, file: string, words: RegExp): Promise<void> {
  const error = await Promise.resolve()
    .then(act)
    .then(
      () => expect.fail('it succeeded'),
      (reason: unknown) => reason,
    );
  expect(error).toBeInstanceOf(StoreError);
  const { message, stack, cause } = error as StoreError;
  expect(message).toContain(file);
  expect(message).toMatch(words);
  expect(`${message} ${stack} ${cause}`.includes(TOKEN)).toBe(false);
}
