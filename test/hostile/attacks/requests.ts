import { connect } from 'node:net';
import { until } from '../../support/until.ts';
import type { Attack } from '../attack.ts';
import { manyApps } from '../siege.ts';
import { happens, http, Wire } from '../strangers.ts';

const PIPELINED = 1_000;
const MOST_UNANSWERED = 16;
const SCRAPES = 20;
const RPC = '/lingpai.v1.TokenService/Get';

function answersIn({ received }: Wire): number {
  return received.toString('latin1').split('HTTP/1.1 ').length - 1;
}

/** Bytes that are no request, or half of one. `\\n` stands for the end of a line. */
const MALFORMED: readonly string[] = [
  'garbage\n\n',
  '\u0016\u0003\u0001\u0002',
  'GET / HTTP/1.1\n\n',
  'GET / HTTP/1.1\nHost: a\nHost: b\n\n',
  'GET / HTTP/1.1\nHost: [::1\n\n',
  'GET / HTTP/1.1\nHost: a b\n\n',
  'GET http://[/ HTTP/1.1\nHost: localhost\n\n',
  'GET //// HTTP/1.1\nHost: localhost\n\n',
  `POST ${RPC} HTTP/1.1\nHost: :::\nContent-Length: 2\nContent-Type: application/json\n\n{}`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nContent-Length: 100\nContent-Type: application/json\n\n{"half`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\nContent-Type: application/json\n\nzz\n`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\nContent-Length: 5\n\n`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nContent-Length: -1\n\n`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nContent-Length: 2\nContent-Type: application/json\nConnect-Timeout-Ms: x\n\n{}`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nContent-Length: 2\nContent-Type: application/connect+json\n\n{}`,
  `POST ${RPC} HTTP/1.1\nHost: localhost\nContent-Length: 5\nContent-Type: application/grpc-web-text\n\n%%%%%`,
  `GET / HTTP/1.1\nHost: localhost\nX: ${'x'.repeat(100_000)}\n\n`,
  'PRI * HTTP/2.0\n\nSM\n\n',
  'GET /metrics HTTP/1.1\nHost: localhost\nExpect: 100-continue\nConnection: upgrade\nUpgrade: h2c\n\n',
  'CONNECT evil.example:443 HTTP/1.1\nHost: evil.example\n\n',
];

/** HTTP requests. */
export const requests: readonly Attack[] = [
  {
    name: 'requests: 1,000 pipelined on one HTTP connection',
    settings: { apps: manyApps(500) },
    async play({ http: address, held, check }) {
      const wire = held.use(new Wire(address)).read();
      await (await wire.settled()).write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(PIPELINED));
      await until(20_000, () =>
        wire.closed || answersIn(wire) === PIPELINED ? undefined : 'they are answered or ended',
      ).catch(() => {});
      const answers = answersIn(wire);
      check(
        answers <= 2 * MOST_UNANSWERED,
        `at most ${MOST_UNANSWERED} wait at a time: ${answers} of ${PIPELINED} were answered`,
      );
    },
  },
  {
    name: 'requests: 20 scrapes of /metrics of 2,000 apps at once',
    settings: { apps: manyApps(2_000) },
    async play({ http: address, check }) {
      const scrape = () => http(address, { path: '/metrics' });
      const ends = await Promise.all(Array.from({ length: SCRAPES }, scrape));
      const whole = ends.filter(({ status, body }) => status === 200 && body.includes('lingpai_')).length;
      check(whole === SCRAPES, `each has all of it: ${whole} of ${SCRAPES} do`);
    },
  },
  {
    name: 'requests: malformed, and cut off, on both ports',
    async play({ http: address, grpc, held }) {
      for (const port of [address, grpc]) {
        for (const text of MALFORMED) {
          for (const cut of [false, true]) {
            const wire = held.use(new Wire(port)).read();
            await (await wire.settled()).write(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1'));
            if (cut) wire.socket.resetAndDestroy();
            else await happens(wire.socket, 'data', 200);
          }
        }
      }
      // Half-closed at once, before anything was said.
      for (const port of [address, grpc])
        connect(Number(port.split(':')[1]), '127.0.0.1')
          .on('error', () => {})
          .end();
    },
  },
];
