import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StoreListener } from '../../src/core/cluster/ports.ts';
import type { Clock } from '../../src/core/kernel/clock.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { openStore, parseStoreUrl } from '../../src/store/open.ts';

export const MEMBER = { replica: 'r1', beat: 1, address: '' };

/** The command by which the manual makes a user who may do what Lingpai does, and no more. */
export const SET_USER = /^ACL SETUSER lingpai .*$/m.exec(
  readFileSync(join(import.meta.dirname, '../../docs/cluster.md'), 'utf8'),
)?.[0] as string;

/** Opens a store that replicas share. */
export async function openRedis(
  url: string,
  { damages = [], clock = systemClock }: { damages?: Error[]; clock?: Clock } = {},
) {
  const parsed = parseStoreUrl(url);
  if ('error' in parsed) throw new Error(parsed.error);
  const onDamage = (error: Error) => void damages.push(error);
  const opened = await openStore(parsed, { clock, random: Math.random, onDamage });
  if (!('shared' in opened)) throw new Error('not shared');
  return { ...opened, store: opened.shared };
}

/** Resolves when the listener has been told of a reconnection. */
export function reconnection(listen: (listener: StoreListener) => void): Promise<void> {
  return new Promise((resolve) => listen({ changed: () => undefined, reconnected: resolve }));
}
