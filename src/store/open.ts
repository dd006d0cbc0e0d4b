import type { Store } from '../core/ports.ts';
import { MemoryStore } from './memory.ts';
import { SqliteStore } from './sqlite.ts';

/** Where records are kept. `path` may be relative to the working directory. */
export type StoreUrl = { readonly kind: 'memory' } | { readonly kind: 'sqlite'; readonly path: string };

const FORMS = 'write "sqlite:PATH" for a file, or "memory:" for a store that a restart empties';

/** Reads `store.url`, or says what is wrong with it and what to write. */
export function parseStoreUrl(url: string): StoreUrl | { readonly error: string } {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url) ?? [];
  switch (scheme?.toLowerCase()) {
    case 'memory':
      return rest === '' ? { kind: 'memory' } : { error: 'nothing may follow "memory:"' };
    case 'sqlite':
      return parseSqlite(rest);
    case 'redis':
    case 'rediss':
      return { error: `redis is not supported in this version; ${FORMS}` };
    default:
      return { error: `this is not the address of a store; ${FORMS}` };
  }
}

/** Opens a store. Rejects with a StoreError that names it, what is wrong and what to do. */
export async function openStore(url: StoreUrl): Promise<Store> {
  return url.kind === 'memory' ? new MemoryStore() : SqliteStore.open(url.path);
}

function parseSqlite(path: string): StoreUrl | { readonly error: string } {
  if (path === '') return { error: 'the path of the file is missing; write "sqlite:lingpai.db", for instance' };
  if (path === ':memory:') return { error: 'write "memory:" for a store that a restart empties' };
  // "sqlite:///var/lib/x.db" is unmistakable; in "sqlite://x.db" the file may be meant to be x.db or /x.db.
  if (/^\/\/(?!\/)/.test(path)) return { error: 'write "sqlite:PATH" without "//" before the path' };
  if (path.includes('\0')) return { error: 'the path has a NUL character; remove it' };
  return { kind: 'sqlite', path };
}
