import type { SharedStore, StoreListener } from '../../src/core/cluster/ports.ts';
import { Scheduler } from '../simulation/scheduler.ts';
import { StoreServer } from '../simulation/shared-store.ts';
import { FakeSharedStore } from '../support/shared-store.ts';
import { sharedStoreContract } from './shared-contract.ts';

// What is tested before a fake is worth as much as the fake is like the store.

sharedStoreContract('the fake', async () => {
  const store = new FakeSharedStore(() => Date.UTC(2026, 0, 15));
  return async () => store.connect();
});

sharedStoreContract('the server of the simulation', async () => {
  const listeners = new Set<StoreListener>();
  const server = new StoreServer({
    scheduler: new Scheduler(() => 0),
    epochTime: Date.UTC(2026, 0, 15),
    onChange: ({ appId }) => {
      for (const listener of listeners) listener.changed(appId);
    },
  });
  return async (): Promise<SharedStore> => ({
    poll: async (self, position) => server.poll(self, position),
    read: async (appIds) => server.read(appIds),
    replace: async (app, expected, etag) => server.replace(app, expected, etag, 'r1'),
    remove: async (replica) => server.remove(replica),
    listen: (listener) => void listeners.add(listener),
    close: async () => undefined,
  });
});
