import { describe, expect, test } from 'vitest';
import type { SharedStore } from '../../src/core/cluster/ports.ts';
import { record, token } from './support.ts';

const self = (replica: string, beat = 1) => ({ replica, beat, address: `${replica}:7600` });

/** What every store that replicas share must do. `create` makes a new, empty one, and returns how a replica connects to it. */
export function sharedStoreContract(name: string, create: () => Promise<() => Promise<SharedStore>>): void {
  const withTwo = async (act: (a: SharedStore, b: SharedStore) => Promise<void>): Promise<void> => {
    const connect = await create();
    const [a, b] = [await connect(), await connect()];
    try {
      await act(a, b);
    } finally {
      await a.close();
      await b.close();
    }
  };

  describe(`${name}: the contract of a shared store`, () => {
    test('a new store is empty', () =>
      withTwo(async (a) => {
        expect(await a.poll(self('r1'), 0)).toMatchObject({ changed: [], members: [self('r1')] });
        expect((await a.read(['wx1'])).records).toEqual([]);
      }));

    test('a record is replaced only where its etag is the expected one', () =>
      withTwo(async (a, b) => {
        expect(await a.replace(record(), '1.x', '2.a')).toMatchObject({ stored: false, found: null });
        expect(await a.replace(record(), null, '1.a')).toMatchObject({ stored: true });
        const found = { app: record(), etag: '1.a' };
        expect(await b.replace(record({ generation: 9 }), null, '1.b')).toMatchObject({ stored: false, found });
        expect(await b.replace(record({ generation: 9 }), '1.x', '2.b')).toMatchObject({ stored: false, found });
        expect((await a.read(['wx0001'])).records).toEqual([found]);
        expect(await b.replace(record({ generation: 9 }), '1.a', '2.b')).toMatchObject({ stored: true });
        expect((await a.read(['wx0001'])).records).toEqual([{ app: record({ generation: 9 }), etag: '2.b' }]);
      }));

    test('every answer says what time it is by the clock of the store', () =>
      withTwo(async (a, b) => {
        const { time } = await a.poll(self('r1'), 0);
        const stored = await b.replace(record(), null, '1.a');
        const refused = await a.replace(record(), null, '1.b');
        const read = await a.read(['wx0001']);
        const times = [time, stored.time, refused.time, read.time];
        expect(times).toEqual(times.toSorted((x, y) => x - y));
        expect(read.time - time).toBeLessThan(60_000);
      }));

    test('of many who replace one record, one does', () =>
      withTwo(async (a, b) => {
        const all = Array.from({ length: 50 }, (_, i) => (i % 2 ? a : b).replace(record(), null, `1.${i}`));
        const stored = (await Promise.all(all)).filter((replaced) => replaced.stored);
        expect(stored).toHaveLength(1);
      }));

    test('what replicas share of an app comes back as it was', () =>
      withTwo(async (a, b) => {
        const answer = { errcode: 45009, errmsg: '令牌 "x"', rid: 'r' };
        const trouble = {
          failures: 3,
          time: 1.25,
          retryTime: 1.5,
          reason: 'UPSTREAM_BUSY',
          message: 'busy',
          answer,
        } as const;
        const shared = {
          commitTime: 1_768_449_600_000.25,
          epoch: 7,
          intents: [{ epoch: 7, replica: 'r1', time: 1_768_449_600_000, orphaned: true }],
          pendingConfirmation: { epoch: 7, time: 1_768_449_800_000 },
          dead: true,
          warning: 'beware',
          trouble,
        };
        const app = record({ shared, current: token('"\\\n\u4ee4\u{1f511}') });
        await a.replace(app, null, '1.a');
        expect((await b.read(['wx0001'])).records).toEqual([{ app, etag: '1.a' }]);
      }));

    test('a poll brings what changed since its position, and nothing twice', () =>
      withTwo(async (a, b) => {
        await a.replace(record({ appId: 'wx1' }), null, '1.a');
        await a.replace(record({ appId: 'wx2' }), null, '1.b');
        const first = await b.poll(self('r2'), 0);
        expect(first.changed.map(({ app }) => app.appId).toSorted()).toEqual(['wx1', 'wx2']);
        expect((await b.poll(self('r2'), first.position)).changed).toEqual([]);
        await a.replace(record({ appId: 'wx1', generation: 3 }), '1.a', '2.a');
        const second = await b.poll(self('r2'), first.position);
        expect(second.changed).toEqual([{ app: record({ appId: 'wx1', generation: 3 }), etag: '2.a' }]);
        expect((await b.poll(self('r2'), second.position)).changed).toEqual([]);
      }));

    test('a position that the store has not reached brings everything', () =>
      withTwo(async (a) => {
        await a.replace(record(), null, '1.a');
        const { position } = await a.poll(self('r1'), 0);
        expect((await a.poll(self('r1'), position + 5)).changed).toHaveLength(1);
      }));

    test('members are all who polled and were not removed, with their last beat', () =>
      withTwo(async (a, b) => {
        await a.poll(self('r1', 1), 0);
        await b.poll(self('r2', 1), 0);
        const { members } = await a.poll(self('r1', 2), 0);
        expect(members.toSorted((x, y) => (x.replica < y.replica ? -1 : 1))).toEqual([self('r1', 2), self('r2', 1)]);
        await a.remove('r2');
        expect((await a.poll(self('r1', 3), 0)).members).toEqual([self('r1', 3)]);
      }));

    test('a replica is told of what another changed', () =>
      withTwo(async (a, b) => {
        const told = new Promise<string>((resolve) => {
          b.listen({ changed: resolve, reconnected: () => undefined });
        });
        await a.replace(record({ appId: 'wx7' }), null, '1.a');
        expect(await told).toBe('wx7');
      }));
  });
}
