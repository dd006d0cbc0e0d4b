import { subscribe } from 'node:diagnostics_channel';
import { setImmediate } from 'node:timers/promises';
import type { Memory, Usage } from '../child.ts';

/** A question to a child. */
export interface Question {
  readonly id: number;
  readonly name: string;
  readonly argument?: unknown;
}

/** A child's reply. */
export type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

// What a question's name says fixes the type of its argument; both ends are in this folder's benchmarks.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Handler = (argument: any) => unknown;

let tokenAnsweredAt = Number.NaN;

const handlers: Record<string, Handler> = {
  usage(): Usage {
    const { user, system } = process.cpuUsage();
    return { cpuMs: (user + system) / 1000 };
  },

  async memory(): Promise<Memory> {
    for (let i = 0; i < 4; i++) {
      globalThis.gc?.();
      await setImmediate();
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    return { held: heapUsed + external, rss };
  },

  tokenAnsweredAt: () => tokenAnsweredAt,
};

/** Milliseconds on a clock that all processes of this machine share. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Adds questions that this process answers. */
export function answer(more: Record<string, Handler>): void {
  Object.assign(handlers, more);
}

// A broker's calls to WeChat, seen from outside: when the last answer of a token endpoint had arrived.
subscribe('undici:request:trailers', (message) => {
  const { path } = (message as { request: { path: string } }).request;
  if (/^\/cgi-bin\/(token|stable_token)/.test(path)) tokenAnsweredAt = sharedNow();
});

process.on('message', async ({ id, name, argument }: Question) => {
  try {
    const handler = handlers[name];
    if (!handler) throw new TypeError(`nobody answers ${name} here`);
    process.send?.({ id, value: await handler(argument) } satisfies Reply);
  } catch (error) {
    process.send?.({
      id,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    } satisfies Reply);
  }
});
process.on('disconnect', () => process.exit());
// A broker that has drained is to end although it could still be asked.
process.on('SIGTERM', () => process.channel?.unref());
