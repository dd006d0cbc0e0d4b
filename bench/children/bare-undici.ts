/** Posts template messages to WeChat and does nothing else: what any sender on this stack costs. */
import { Pool } from 'undici';
import type { Calls } from './load.ts';
import { answer, sharedNow } from './report.ts';

/** Messages to post: the path with the token, and the body, to which a client_msg_id of its own is added. */
export interface Posts {
  readonly origin: string;
  readonly path: string;
  readonly body: object;
  readonly inFlight: number;
  readonly durationMs: number;
}

let pool: Pool | undefined;
let posted = 0;

answer({
  /** Keeps so many posts in flight for a time. Resolves when the last is answered. */
  async posts({ origin, path, body, inFlight, durationMs }: Posts): Promise<Calls> {
    pool ??= new Pool(origin, { connections: inFlight });
    const dispatcher = pool;
    const tookMs: number[] = [];
    const startedAt = sharedNow();
    const endsAt = startedAt + durationMs;
    const sender = async () => {
      do {
        const sentAt = sharedNow();
        const { body: answered } = await dispatcher.request({
          path,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ ...body, client_msg_id: `bare-${posted++}` }),
        });
        const { errcode } = (await answered.json()) as { errcode: number };
        if (errcode !== 0) throw new Error(`the simulated WeChat answered ${errcode}`);
        tookMs.push(sharedNow() - sentAt);
      } while (sharedNow() < endsAt);
    };
    await Promise.all(Array.from({ length: inFlight }, sender));
    return { calls: tookMs.length, ms: sharedNow() - startedAt, tookMs };
  },
});
process.on('SIGTERM', () => process.exit());
