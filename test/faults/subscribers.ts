/** Subscribers in a process of their own: each watches one app, and goes to the next replica when its own is lost. */
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout } from 'node:timers/promises';
import { tokenClient } from '../../src/commands/client.ts';

/** A subscriber's current token from a moment on; empty: it has none. */
export interface Holding {
  readonly subscriber: number;
  readonly time: number;
  readonly tokenId: string;
  readonly generation: number;
}

/** How subscribers are started. */
export interface SubscribersOptions {
  readonly appId: string;
  /** The addresses of the replicas; subscriber n begins at the n-th, or where `first` says. */
  readonly addresses: readonly string[];
  readonly count: number;
  readonly first?: number;
}

/** For how long nothing may come before a subscriber takes its replica for lost: two and a half heartbeats. */
export const SILENCE_MS = 2_500;

/** The other side: starts them, and takes down what they hold. */
export class Subscribers implements AsyncDisposable {
  readonly holdings: Holding[] = [];
  readonly #process: ChildProcess;
  readonly #count: number;
  #onHolding = () => {};

  constructor(options: SubscribersOptions) {
    this.#count = options.count;
    this.#process = fork(import.meta.filename, [JSON.stringify(options)], {
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    this.#process.on('message', (holdings: Holding[]) => {
      this.holdings.push(...holdings);
      this.#onHolding();
    });
  }

  /** Tells them of other addresses, by position. */
  move(addresses: readonly string[]): void {
    this.#process.send(addresses);
  }

  /** What each has now. */
  current(): (Holding | undefined)[] {
    const current = Array.from({ length: this.#count }, (): Holding | undefined => undefined);
    for (const holding of this.holdings) current[holding.subscriber] = holding;
    return current;
  }

  /** The generation that each has now. */
  generations(): number[] {
    return this.current().map((holding) => holding?.generation ?? 0);
  }

  /** Resolves when all have at least this generation. Rejects after `ms`. */
  async reached(generation: number, ms = 30_000): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const late = AbortSignal.timeout(ms);
    late.addEventListener('abort', () =>
      reject(new Error(`some subscriber had not reached ${generation} after ${ms} ms`)),
    );
    const look = () => {
      if (this.generations().every((each) => each >= generation)) resolve();
    };
    this.#onHolding = look;
    look();
    try {
      await promise;
    } finally {
      this.#onHolding = () => {};
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }
}

/** A clock that all processes of this machine share, in milliseconds. */
export function sharedNow(): number {
  return Date.now();
}

async function run({ appId, addresses: first, count, first: only }: SubscribersOptions): Promise<void> {
  let addresses = first;
  const clients = new Map<string, ReturnType<typeof tokenClient>>();
  /** A connection carries a hundred streams. */
  const clientOf = (address: string, subscriber: number) => {
    const name = `${address} ${Math.floor(subscriber / 100)}`;
    const client = clients.get(name) ?? tokenClient(address);
    clients.set(name, client);
    return client;
  };
  const news: Holding[] = [];
  setInterval(() => {
    if (news.length > 0) process.send?.(news.splice(0));
  }, 20);
  process.on('message', (moved: string[]) => {
    addresses = moved;
  });
  process.on('disconnect', () => process.exit());
  const subscribe = async (subscriber: number) => {
    let known = 0n;
    for (let at = only ?? subscriber; ; at++) {
      const address = addresses[at % addresses.length] ?? '';
      const silence = new AbortController();
      let timer: NodeJS.Timeout | undefined;
      const beat = () => {
        clearTimeout(timer);
        timer = globalThis.setTimeout(() => silence.abort(), SILENCE_MS);
      };
      try {
        beat();
        const request = { appIds: [appId], knownGenerations: known > 0n ? { [appId]: known } : {} };
        for await (const { event } of clientOf(address, subscriber).watchToken(request, { signal: silence.signal })) {
          beat();
          if (event.case !== 'state') continue;
          const { generation, current } = event.value;
          if (generation > known) known = generation;
          const tokenId = current?.id ?? '';
          news.push({ subscriber, time: sharedNow(), tokenId, generation: Number(generation) });
        }
      } catch {
        // It goes to the next one.
      }
      clearTimeout(timer);
      await setTimeout(50 + Math.random() * 100);
    }
  };
  for (let i = 0; i < count; i++) void subscribe(i);
}

if (process.argv[1] === import.meta.filename) await run(JSON.parse(process.argv[2] ?? '') as SubscribersOptions);
