import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { newKey } from '../../../src/access/key.ts';
import { ForceRefreshRequestSchema, GetRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import { until } from '../../support/until.ts';
import type { Attack, Scene } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { CALLER, fillKeys, POLITE, rules } from '../rules.ts';
import { APP, OTHER } from '../siege.ts';
import { call, type GrpcEnd, happens, http, http2Session, open } from '../strangers.ts';

const SERVICE = '/lingpai.v1.TokenService';
const GET = `${SERVICE}/Get`;
const KEYS = 10_000;
const OVER_HTTP = 500;
const PEERS = 8;
const AT_ONCE = 60;
/** A stranger is told apart by its address, and by what was wrong with what it showed: unknown, mistyped, no key at all. */
const CAUSES = 3;
const DENIED = 10_000;
/** Of what was denied the audit log tells so many apart, and callers beyond. */
const TOLD_APART = 3_000;
/** One for each way to be refused, whoever is. */
const MORE_SERIES = 8;
const LIMITS = { calls: 1_000, streams: 300 };
const STREAMS = 500;
const CALLS = 10_000;
const ENDED_MS = 5_000;

const allowed = { authorization: CALLER.authorization };
const get = (appId: string) => grpcMessage(toBinary(GetRequestSchema, create(GetRequestSchema, { appId })));
const refresh = (appId: string) =>
  grpcMessage(toBinary(ForceRefreshRequestSchema, create(ForceRefreshRequestSchema, { appId })));

/** What is shown in place of a key that is good. */
function wrongKey(i: number): string {
  const key = newKey(randomBytes);
  const wrong = [
    `Bearer ${key}`,
    `Bearer ${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`,
    `Bearer ${key.slice(0, 20)}`,
    `Bearer lingpai_${'x'.repeat(7_000)}`,
    `Basic ${key}`,
  ];
  return wrong[i % wrong.length] ?? '';
}

/** So many calls, each from one of some peers on a connection for each. */
async function calls({ grpc, held }: Scene, count: number, one: (i: number) => Call): Promise<GrpcEnd[]> {
  const each = async (peer: number) => {
    const session = held.use(await http2Session(grpc, { from: `127.0.0.${10 + peer}` }));
    const ends: GrpcEnd[] = [];
    for (let i = peer; i < count; i += PEERS * AT_ONCE) {
      const batch = Array.from({ length: Math.min(AT_ONCE, Math.ceil((count - i) / PEERS)) }, (_, j) => {
        const { path, bytes, authorization } = one(i + j * PEERS);
        return call(session, path, bytes, { authorization }, 20_000);
      });
      ends.push(...(await Promise.all(batch)));
    }
    return ends;
  };
  return (await Promise.all(Array.from({ length: PEERS }, (_, peer) => each(peer)))).flat();
}

interface Call {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly authorization: string;
}

function othersThan(code: number, ends: readonly GrpcEnd[]): string {
  return [...new Set(ends.filter(({ status }) => status !== code).map(({ status }) => status))].join(', ');
}

/** The series of the broker's metrics about who calls, without their values. */
async function series(address: string): Promise<string[]> {
  const { body } = await http(address, { path: '/metrics', headers: { authorization: POLITE.authorization } });
  return body
    .toString()
    .split('\n')
    .filter((line) => /^lingpai_(?:auth|access|caller)/.test(line))
    .map((line) => line.slice(0, line.lastIndexOf(' ')));
}

/** Those who have no key, and those who have one. */
export const callers: readonly Attack[] = [
  {
    name: 'callers: 10,000 calls with keys that are unknown, mistyped, 7 KB',
    settings: rules(),
    fill: fillKeys,
    key: POLITE.key,
    async play(scene) {
      const { check, log } = scene;
      const before = await series(scene.http);
      const ends = await calls(scene, KEYS, (i) => ({ path: GET, bytes: get(APP), authorization: wrongKey(i) }));
      const others = othersThan(Code.Unauthenticated, ends);
      check(others === '', `each is UNAUTHENTICATED, not ${others}`);
      check(new Set(ends.map(({ message }) => message)).size === 1, 'all are told the same');
      for (let i = 0; i < OVER_HTTP; i += PEERS) {
        const ask = (j: number) => http(scene.http, { path: '/metrics', headers: { authorization: wrongKey(i + j) } });
        const answers = await Promise.all(Array.from({ length: PEERS }, (_, j) => ask(j)));
        check(
          answers.every(({ status }) => status === 401),
          `each is 401: ${answers.map(({ status }) => status).join(', ')}`,
        );
      }
      const lines = log.filter(({ event }) => event === 'authn.failed').length;
      const most = (PEERS + 1) * CAUSES;
      check(lines > 0 && lines <= most, `the audit log has 1 to ${most} lines about them: ${lines}`);
      const after = await series(scene.http);
      const more = after.length - before.length;
      check(before.length > 0 && more <= MORE_SERIES, `at most ${MORE_SERIES} series of metrics more: ${more}`);
    },
  },
  {
    name: 'callers: 10,000 calls that no rule allows, each for another app',
    settings: rules({ limits: { calls: 100_000 } }),
    fill: fillKeys,
    key: POLITE.key,
    async play(scene) {
      const { check, log } = scene;
      const before = await series(scene.http);
      const { authorization } = CALLER;
      const ends = await calls(scene, DENIED, (i) =>
        i % 2
          ? { path: GET, bytes: get(`wxdenied${i}`), authorization }
          : { path: `${SERVICE}/ForceRefresh`, bytes: refresh(`wxdenied${i}`), authorization },
      );
      const others = othersThan(Code.PermissionDenied, ends);
      check(others === '', `each is PERMISSION_DENIED, not ${others}`);
      const lines = log.filter(({ event }) => event === 'access.denied').length;
      check(lines > 0 && lines <= TOLD_APART, `the audit log has 1 to ${TOLD_APART} lines about them: ${lines}`);
      const after = await series(scene.http);
      const more = after.length - before.length;
      check(before.length > 0 && more <= MORE_SERIES, `at most ${MORE_SERIES} series of metrics more: ${more}`);
      check(!after.some((line) => line.includes('wxdenied')), 'no metric names what a caller makes up');
    },
  },
  {
    name: 'callers: 500 watches where 300 may be open, 10,000 calls where 1,000 may be made',
    settings: rules({ limits: LIMITS }),
    fill: fillKeys,
    key: POLITE.key,
    async play({ grpc, held, check }) {
      const watches = async () => {
        const session = held.use(await http2Session(grpc));
        const all = Array.from({ length: STREAMS }, () => open(session, `${SERVICE}/WatchToken`, allowed));
        for (const { stream } of all) stream.end(grpcMessage(Buffer.alloc(0)));
        const are = await Promise.all(all.map(({ stream }) => happens(stream, 'data', ENDED_MS)));
        return { session, count: are.filter(Boolean).length, ended: all.filter((_, i) => !are[i]).map((e) => e.ended) };
      };
      const first = await watches();
      check(first.count === LIMITS.streams, `${LIMITS.streams} are served, not ${first.count}`);
      const others = othersThan(Code.ResourceExhausted, await Promise.all(first.ended));
      check(others === '', `the others are RESOURCE_EXHAUSTED, not ${others}`);

      const from = performance.now();
      const session = held.use(await http2Session(grpc));
      const ends: GrpcEnd[] = [];
      for (let i = 0; i < CALLS; i += AT_ONCE) {
        const one = () => call(session, GET, get(OTHER), allowed);
        ends.push(...(await Promise.all(Array.from({ length: AT_ONCE }, one))));
      }
      const served = ends.filter(({ status }) => status === 0).length;
      const most = LIMITS.calls * (1 + (performance.now() - from) / 1_000);
      check(served > 0 && served <= most, `at most ${Math.floor(most)} are answered, and some: ${served}`);
      const refused = ends.filter(({ status }) => status !== 0);
      check(othersThan(Code.ResourceExhausted, refused) === '', 'the others are RESOURCE_EXHAUSTED');

      // What has ended makes room, also where its connection was cut.
      first.session.destroy();
      let again = 0;
      const isFree = async () => {
        // Each watch is a call, and a try makes half of those that a second allows.
        await setTimeout(1_000);
        const next = await watches();
        again = next.count;
        if (again !== LIMITS.streams) next.session.destroy();
        return again === LIMITS.streams ? undefined : `${LIMITS.streams} are served anew, not ${again}`;
      };
      await until(ENDED_MS * 2, isFree).catch((error: Error) => check(false, error.message));
    },
  },
];
