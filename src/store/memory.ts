import type { Store, StoredApp } from '../core/ports.ts';

/** A store that lasts as long as the process: after a restart every token is fetched anew. */
export class MemoryStore implements Store {
  readonly #apps = new Map<string, StoredApp>();

  async load(): Promise<readonly StoredApp[]> {
    return structuredClone([...this.#apps.values()]);
  }

  async save(app: StoredApp): Promise<void> {
    this.#apps.set(app.appId, structuredClone(app));
  }

  async close(): Promise<void> {}
}
