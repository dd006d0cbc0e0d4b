import { describe, expect, test } from 'vitest';
import type { Store, StoredApp } from '../../src/core/tokens/ports.ts';
import { record, token } from './support.ts';

/** What every store must do. `create` opens a new, empty one; each test closes its own. */
export function storeContract(name: string, create: () => Promise<Store>): void {
  const withStore = async (act: (store: Store) => Promise<void>): Promise<void> => {
    const store = await create();
    try {
      await act(store);
    } finally {
      await store.close();
    }
  };
  const sorted = (apps: readonly StoredApp[]): StoredApp[] => apps.toSorted((a, b) => a.appId.localeCompare(b.appId));

  describe(`${name}: the contract of a store`, () => {
    test('a new store is empty', () => withStore(async (store) => expect(await store.load()).toEqual([])));

    test.each([
      ['a whole record', record({ previous: token('the one before') })],
      ['a record without tokens', record({ generation: 0, current: null, budget: { day: -1, mints: 0, forced: 0 } })],
      ['a classic record in the middle of a mint', record({ issuer: 'classic', openMints: 2, lastForcedTime: 1.5 })],
      ['values with every kind of character', record({ appId: "wx'; --", current: token('"\\\u0001\u4ee4\u{1f511}') })],
      ['the greatest generation', record({ generation: Number.MAX_SAFE_INTEGER })],
    ])('%s comes back as it was', (_, app) =>
      withStore(async (store) => {
        await store.save(app);
        expect(await store.load()).toEqual([app]);
      }),
    );

    test('a save replaces the whole record', () =>
      withStore(async (store) => {
        await store.save(record({ previous: token('old') }));
        await store.save(record({ generation: 2, current: token('new') }));
        expect(await store.load()).toEqual([record({ generation: 2, current: token('new') })]);
      }));

    test('apps are independent of one another', () =>
      withStore(async (store) => {
        await store.save(record({ appId: 'wx1' }));
        await store.save(record({ appId: 'wx2', current: null }));
        await store.save(record({ appId: 'wx1', generation: 7 }));
        expect(sorted(await store.load())).toEqual([
          record({ appId: 'wx1', generation: 7 }),
          record({ appId: 'wx2', current: null }),
        ]);
      }));

    test('saves of many apps at once all arrive', () =>
      withStore(async (store) => {
        const apps = Array.from({ length: 500 }, (_, i) => record({ appId: `wx${i}`, generation: i }));
        await Promise.all(apps.map((app) => store.save(app)));
        await Promise.all(apps.map((app) => store.save({ ...app, openMints: 1 })));
        expect(sorted(await store.load())).toEqual(sorted(apps.map((app) => ({ ...app, openMints: 1 }))));
      }));

    test('what is changed after it was saved, or after it was loaded, does not change the store', () =>
      withStore(async (store) => {
        const saved = structuredClone(record());
        const saving = store.save(saved);
        Object.assign(saved.budget, { mints: 99 });
        await saving;
        Object.assign(saved, { generation: 99 });
        const [loaded] = await store.load();
        Object.assign(loaded?.current ?? {}, { value: 'changed' });
        expect(await store.load()).toEqual([record()]);
      }));

    test('a frozen record can be saved', () =>
      withStore(async (store) => {
        await store.save(Object.freeze(record()));
        expect(await store.load()).toEqual([record()]);
      }));
  });
}
