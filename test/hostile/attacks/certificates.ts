import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { GetRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import { issue } from '../../support/certificates.ts';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { fillKeys, POLITE, rules } from '../rules.ts';
import { APP, OTHER } from '../siege.ts';
import { call, handshake, http2Session } from '../strangers.ts';

const GET = '/lingpai.v1.TokenService/Get';
const PAY = 'spiffe://prod.example/ns/pay/sa/checkout';
const clientCa = issue({ name: 'clients', isCa: true });
const signed = (names: readonly string[], more: object = {}) =>
  issue({ name: 'hostile', names, by: clientCa, ...more });

/** No handshake, or no answer: OpenSSL may not take what is no proper certificate. */
const REFUSED = -1;
const TWICE = 'its names twice';
const AT_ONCE = 30;
const CONNECTIONS = 30;
/** OpenSSL takes chains up to 100 KiB. */
const LARGE_BYTES = 60_000;
const LARGE_CONNECTIONS = 330;

/** Certificates of an authority that is trusted, and what each is: most are nobody's, whatever they say. */
const HOSTILE: Readonly<Record<string, () => { cert: string; key: string; code: Code | 0 }>> = {
  'one name, that a rule allows': () => ({ ...signed([`uri:${PAY}`]), code: 0 }),
  '4,000 names': () => ({
    ...signed(Array.from({ length: 4_000 }, (_, i) => `dns:h${i}.example`)),
    code: Code.Unauthenticated,
  }),
  '2,000 URIs': () => ({
    ...signed(Array.from({ length: 2_000 }, (_, i) => `uri:${PAY}${i}`)),
    code: Code.Unauthenticated,
  }),
  'a URI of 60 KB': () => ({ ...signed([`uri:${PAY}${'x'.repeat(LARGE_BYTES)}`]), code: Code.Unauthenticated }),
  'a name in which another seems to stand': () => ({
    ...signed([`dns:a.example, URI:${PAY}`, `dns:"a.example\\u002c URI:${PAY}`]),
    code: Code.Unauthenticated,
  }),
  'a name with NUL in it': () => ({ ...signed([`uri:${PAY}\0.example`]), code: Code.Unauthenticated }),
  [TWICE]: () => ({ ...signed([`uri:${PAY}`], { repeatNames: 2 }), code: Code.Unauthenticated }),
  'two URIs': () => ({ ...signed([`uri:${PAY}`, 'uri:https://a.example']), code: Code.Unauthenticated }),
  'an authority': () => ({ ...signed([`uri:${PAY}`], { isCa: true }), code: Code.Unauthenticated }),
  'the name of another, which no rule allows': () => ({
    ...signed([`dns:${'a'.repeat(63)}.example`]),
    code: Code.PermissionDenied,
  }),
};

const SETTINGS = {
  tls: { cert: 'cert.pem', key: 'key.pem', client_ca: 'clients.pem' },
  ...rules({}, [PAY]),
  // What the measurement and the handshakes take of a loaded machine is not to look like a request that does not come.
  watch: { heartbeat: '1s', stall_timeout: '5s' },
};

async function fill(path: string, folder: string): Promise<void> {
  const { cert, key } = issue({ name: 'broker', names: ['dns:localhost', 'ip:127.0.0.1'] });
  await writeFile(join(folder, 'cert.pem'), cert, { mode: 0o600 });
  await writeFile(join(folder, 'key.pem'), key, { mode: 0o600 });
  await writeFile(join(folder, 'clients.pem'), clientCa.cert, { mode: 0o600 });
  await fillKeys(path, folder);
}

const get = (appId: string) => grpcMessage(toBinary(GetRequestSchema, create(GetRequestSchema, { appId })));

/** Client certificates of authorities that are trusted, which whoever asked for them filled with what they like. */
export const certificates: readonly Attack[] = [
  {
    name: 'certificates: 300 connections with names that are many, large, or seem others',
    settings: SETTINGS,
    fill,
    key: POLITE.key,
    async play({ grpc, held, check, log }) {
      for (const [words, make] of Object.entries(HOSTILE)) {
        const { code, ...certificate } = make();
        const one = async () => {
          const over = await handshake(grpc, { ...certificate, ALPNProtocols: ['h2'] });
          if (!over) return REFUSED;
          const session = held.use(await http2Session(grpc, { over }));
          return (await call(session, GET, get(OTHER))).status;
        };
        const all = await Promise.all(Array.from({ length: CONNECTIONS }, one));
        const others = [
          ...new Set(all.filter((status) => status !== code && !(status === REFUSED && words === TWICE))),
        ].join(', ');
        check(others === '', `with ${words} each is answered ${code}, not ${others}`);
      }
      const failures = Object.values(HOSTILE).length;
      const lines = log.filter(({ event }) => event === 'authn.failed').length;
      check(lines > 0 && lines <= failures, `the audit log has 1 to ${failures} lines about them: ${lines}`);
    },
  },
  {
    name: 'certificates: 330 connections with one of 60 KB each, of no authority',
    settings: SETTINGS,
    fill,
    key: POLITE.key,
    async play({ grpc, held, check }) {
      const large = issue({ name: 'large', padding: LARGE_BYTES });
      let open = 0;
      for (let i = 0; i < LARGE_CONNECTIONS; i += AT_ONCE) {
        const one = async () => {
          const over = await handshake(grpc, { ...large, ALPNProtocols: ['h2'] });
          if (!over) return;
          const session = held.use(await http2Session(grpc, { over }));
          const { status } = await call(session, GET, get(APP));
          check(status === Code.Unauthenticated, `it is nobody: UNAUTHENTICATED, not ${status}`);
          open++;
        };
        await Promise.all(Array.from({ length: AT_ONCE }, one));
      }
      check(open === LARGE_CONNECTIONS, `each is taken: ${open}`);
    },
  },
];
