import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { GetRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import { jwksText, makeJwt, makeSigningKey } from '../../support/jwt.ts';
import { until } from '../../support/until.ts';
import type { Attack, Scene } from '../attack.ts';
import { END_HEADERS, END_STREAM, FrameType, frame, grpcHeaders, grpcMessage } from '../frames.ts';
import { fillKeys, POLITE, rules } from '../rules.ts';
import { OTHER } from '../siege.ts';
import { call, framesOf, type GrpcEnd, http2Session, http2Wire, open, type Wire } from '../strangers.ts';

const GET = '/lingpai.v1.TokenService/Get';
const NAME = 'prod';
const ISSUER = 'https://issuer.example';
const AUDIENCE = 'lingpai';
/** What a head may have beside it, of 8 KiB. */
const LARGE_CHARACTERS = 5_300;
const FORGED = 6_000;
const SESSIONS = 8;
const AT_ONCE = 900;
const UNKNOWN = 2_000;
const LEAVING = 40;
/** Fetches are so far apart. */
const COOLDOWN_MS = 10_000;
const FETCH_MS = 15_000;
const FREE_MS = 5_000;
const LAST_MS = 20_000;
/** A token that HPACK's table has room for: each further call that shows it is a few bytes. */
const INDEXED_CHARACTERS = 2_400;
const WIRES = 4;
const CALLS = 1_000;

const key = makeSigningKey('k1');
const message = grpcMessage(toBinary(GetRequestSchema, create(GetRequestSchema, { appId: OTHER })));
let made = 0;

function claims(more: object = {}): Record<string, unknown> {
  made++;
  return {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: 'pay',
    exp: Math.floor(Date.now() / 1_000) + 3_600,
    jti: `${made}`,
    ...more,
  };
}

const bearer = (jwt: string) => ({ authorization: `Bearer ${jwt}` });
const good = () => bearer(makeJwt(key, claims()));
const padded = (characters: number) => claims({ padding: 'x'.repeat(characters) });
/** All of it is right but its signature. */
const forged = (characters = LARGE_CHARACTERS) =>
  bearer(makeJwt(key, padded(characters), { signer: () => randomBytes(256) }));
const unknown = (characters = LARGE_CHARACTERS) =>
  bearer(makeJwt(key, padded(characters), { header: { kid: `k${made}-unknown` }, signer: () => randomBytes(256) }));

/** An issuer that gives its keys once, and then lets whoever asks wait. */
class Issuer {
  fetches = 0;

  async start(held: AsyncDisposableStack): Promise<object> {
    this.fetches = 0;
    const server = createServer((_, response) => {
      if (++this.fetches === 1) response.end(jwksText(key));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    held.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
  }
}

const issuer = new Issuer();

async function beside(held: AsyncDisposableStack) {
  const jwks = await issuer.start(held);
  const tokens = [{ name: NAME, issuer: ISSUER, audience: AUDIENCE, jwks }];
  return rules({ tokens, limits: { calls: 100_000 } }, [`jwt:${NAME}/pay`]);
}

const COMMON = { beside, fill: fillKeys, key: POLITE.key };

function othersThan(codes: readonly number[], ends: readonly GrpcEnd[]): string {
  return [...new Set(ends.filter(({ status }) => !codes.includes(status)).map(({ status }) => status))].join(', ');
}

/** Resolves when somebody whose token nobody has seen yet is let in. */
async function letIn({ grpc, held, check }: Scene, words: string): Promise<void> {
  const session = held.use(await http2Session(grpc, { from: '127.0.0.3' }));
  let last = 0;
  const lacking = async () => {
    last = (await call(session, GET, message, good())).status;
    return last === 0 ? undefined : 'it is';
  };
  await until(FREE_MS, lacking).catch(() => {});
  check(last === 0, `${words} a new token is believed: 0, not ${last}`);
}

/** The statuses with which the calls of a wire ended: each is refused in one frame of headers. */
function answers(wire: Wire): number {
  return framesOf(wire).filter(({ type }) => type === FrameType.HEADERS).length;
}

/** JWTs that are not good, and who waits until that is known. */
export const jwts: readonly Attack[] = [
  {
    name: 'jwts: 6,000 of 8 KB with wrong signatures, 900 at once on 8 connections',
    ...COMMON,
    async play(scene) {
      const { grpc, held, check, log } = scene;
      const friend = held.use(await http2Session(grpc, { from: '127.0.0.3' }));
      const known = good();
      check((await call(friend, GET, message, known)).status === 0, 'one that is good is believed');
      let isOver = false;
      const asking = (async () => {
        const ends: GrpcEnd[] = [];
        while (!isOver) ends.push(await call(friend, GET, message, known, LAST_MS));
        return ends;
      })();
      const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => http2Session(grpc)));
      for (const session of sessions) held.use(session);
      const ends: GrpcEnd[] = [];
      for (let i = 0; i < FORGED; i += AT_ONCE) {
        const all = Array.from({ length: AT_ONCE }, (_, j) => ({ on: sessions[j % SESSIONS], headers: forged() }));
        ends.push(
          ...(await Promise.all(
            all.flatMap(({ on, headers }) => (on ? [call(on, GET, message, headers, LAST_MS)] : [])),
          )),
        );
      }
      isOver = true;
      const others = othersThan([Code.Unauthenticated, Code.ResourceExhausted], ends);
      check(others === '', `each is UNAUTHENTICATED, or told to come again, not ${others}`);
      check(
        ends.some(({ status }) => status === Code.Unauthenticated),
        'some are looked at',
      );
      check(othersThan([0], await asking) === '', 'whose token is known is served meanwhile');
      const lines = log.filter(({ event }) => event === 'authn.failed').length;
      check(lines > 0 && lines <= 2, `the audit log has one line for each cause, at most 2: ${lines}`);
      const still = await Promise.all(sessions.map((session) => call(session, GET, message, known)));
      const left = othersThan([0], still);
      check(left === '', `a call on each of the connections is answered: 0, not ${left}`);
      await letIn(scene, 'afterwards');
    },
  },
  {
    name: 'jwts: 4,000 calls with one of 3 KB in the table of HPACK',
    ...COMMON,
    async play(scene) {
      const { grpc, held, check } = scene;
      const wires: Wire[] = [];
      for (let i = 0; i < WIRES; i++) wires.push(held.use((await http2Wire(grpc)).read()));
      for (const [i, wire] of wires.entries()) {
        const { authorization } = i % 2 ? unknown(INDEXED_CHARACTERS) : forged(INDEXED_CHARACTERS);
        const calls = Array.from({ length: CALLS }, (_, j) => {
          // A literal that goes into the table, and thereafter its place there.
          const shown = j === 0 ? literal('authorization', authorization) : Buffer.from([0x80 | 62]);
          const head = { type: FrameType.HEADERS, flags: END_HEADERS | END_STREAM, stream: 1 + 2 * j };
          return frame(head, Buffer.concat([grpcHeaders(GET), shown]));
        });
        void wire.write(Buffer.concat(calls));
      }
      const isAnswered = () => wires.filter((wire) => wire.closed || answers(wire) >= CALLS).length === WIRES;
      await until(LAST_MS, () => (isAnswered() ? undefined : 'all are answered')).catch((error: Error) =>
        check(false, error.message),
      );
      check(
        wires.every((wire) => !wire.closed),
        'no connection is ended',
      );
      await letIn(scene, 'afterwards');
    },
  },
  {
    name: 'jwts: 2,000 of unknown keys, whose issuer does not answer, and callers that leave',
    ...COMMON,
    async play(scene) {
      const { grpc, held, check } = scene;
      const from = performance.now();
      const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => http2Session(grpc)));
      for (const session of sessions) held.use(session);
      // Those that come first cause no fetch: the last one is not long ago.
      const before = issuer.fetches;
      const first = held.use(await http2Session(grpc));
      const asked = async () => {
        void call(first, GET, message, unknown(), LAST_MS);
        await setTimeout(100);
        return issuer.fetches > before ? undefined : 'its keys are fetched again';
      };
      await until(FETCH_MS, asked).catch((error: Error) => check(false, error.message));
      const waiting = Array.from({ length: UNKNOWN }, (_, i) => {
        const session = sessions[i % SESSIONS] ?? first;
        const { stream, ended } = open(session, GET, unknown());
        stream.end(message);
        return { stream, ended };
      });
      let refused = 0;
      for (const { ended } of waiting) void ended.then(({ status }) => status === Code.Unauthenticated && refused++);
      await setTimeout(1_000);
      check(refused >= UNKNOWN / 2, `those beyond 64 do not wait: ${refused} of ${UNKNOWN} are refused at once`);
      for (const session of sessions) session.destroy();
      // Others leave while their signatures are checked.
      for (let i = 0; i < LEAVING; i++) {
        const session = await http2Session(grpc);
        for (let j = 0; j < 50; j++) open(session, GET, forged()).stream.end(message);
        await setTimeout(5);
        session.destroy();
      }
      await letIn(scene, 'when they have left');
      const most = 2 + Math.ceil((performance.now() - from) / COOLDOWN_MS);
      check(issuer.fetches <= most, `at most ${most} fetches are made: ${issuer.fetches}`);
    },
  },
];

/** A header that goes into the dynamic table. */
function literal(name: string, value: string): Buffer {
  const text = (each: string) => {
    const bytes = Buffer.from(each, 'latin1');
    return Buffer.concat([lengthOf(bytes.length), bytes]);
  };
  return Buffer.concat([Buffer.from([0x40]), text(name), text(value)]);
}

function lengthOf(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
