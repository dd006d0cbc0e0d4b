import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IssuerKind } from '../src/core/tokens/ports.ts';
import type { Figure } from './figure.ts';

/** How a benchmark is run. */
export interface Run {
  /** Fewer and shorter rounds, and smaller numbers, so that all of them take a minute. */
  readonly quick: boolean;
  /** Tells the person who waits what is being done. */
  readonly progress: (text: string) => void;
}

/** A benchmark: it sets up what it needs, measures, and leaves nothing behind. */
export type Benchmark = (run: Run) => Promise<Figure[]>;

/** An app of a benchmark. */
export interface BenchApp {
  readonly appId: string;
  readonly secret: string;
  readonly issuer: IssuerKind;
}

/** How long tokens of the simulated WeChat live: as long as WeChat's. */
export const LIFETIME_MS = 7_200_000;

/** Apps of both issuers in turn, or all of one. */
export function benchApps(count: number, issuer?: IssuerKind): BenchApp[] {
  return Array.from({ length: count }, (_, i) => ({
    appId: `wx${String(i).padStart(16, '0')}`,
    secret: 'bench',
    issuer: issuer ?? (i % 2 === 0 ? 'classic' : 'stable'),
  }));
}

/** A folder that is gone afterwards. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'lingpai-bench-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Writes a config file for `lingpai serve`, everything at its default but where it listens and what is given. */
export async function writeConfig(
  path: string,
  options: {
    store: string;
    upstream: string;
    apps: readonly BenchApp[];
    settings?: Partial<Record<string, object | string>>;
  },
): Promise<string> {
  const { store, upstream, apps, settings = {} } = options;
  const config = {
    grpc: { listen: '127.0.0.1:0' },
    http: { listen: '127.0.0.1:0' },
    store: { url: store.startsWith('redis:') ? store : `sqlite:${store}` },
    ...settings,
    upstream: { ...Object(settings['upstream']), base_url: upstream },
    apps: apps.map(({ appId, secret, issuer }) => ({ app_id: appId, secret, issuer })),
  };
  await writeFile(path, JSON.stringify(config, null, 2));
  return path;
}
