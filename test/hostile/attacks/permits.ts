import { create, toBinary } from '@bufbuild/protobuf';
import { CountPermitsRequestSchema } from '../../../src/gen/lingpai/v1/message_pb.js';
import { systemClock } from '../../../src/ops/clock.ts';
import { openStore } from '../../../src/store/open.ts';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { APP } from '../siege.ts';
import { call, http2Session } from '../strangers.ts';

const COUNT = '/lingpai.v1.MessageService/CountPermits';
const PERMITS = 150_000;
const AT_ONCE = 1_000;
const USERS = 1_500;
const DAY_MS = 24 * 3_600_000;
const COUNTS = 20;

async function fill(path: string): Promise<void> {
  const deps = { clock: systemClock, random: Math.random, onDamage: () => undefined };
  const { ledger, close } = await openStore({ kind: 'sqlite', path }, deps);
  const now = systemClock.now();
  for (let first = 0; first < PERMITS; first += AT_ONCE) {
    const permits = Array.from({ length: AT_ONCE }, (_, i) => ({
      toUser: `o${(first + i) % USERS}`,
      kind: 'form_id' as const,
      value: `form-${first + i}`,
      templateId: '',
      collectTime: now,
      expireTime: now + 1 * DAY_MS + ((first + i) % 6) * DAY_MS,
      uses: 1,
    }));
    await ledger.deposit(APP, permits);
  }
  await close();
}

/** The ledger of permits. */
export const permits: readonly Attack[] = [
  {
    name: 'permits: 20 counts of 150,000 at once',
    fill,
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const request = create(CountPermitsRequestSchema, { appId: APP });
      const message = grpcMessage(toBinary(CountPermitsRequestSchema, request));
      const ends = await Promise.all(Array.from({ length: COUNTS }, () => call(session, COUNT, message)));
      for (const { status } of ends) check(status === 0, `each is answered: 0, not ${status}`);
    },
  },
];
