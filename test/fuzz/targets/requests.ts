import { type DescMessage, toBinary, toJsonString } from '@bufbuild/protobuf';
import { grpcMessage } from '../../hostile/frames.ts';
import { FuzzedBroker } from '../broker.ts';
import type { Draw } from '../draw.ts';
import { talk } from '../talk.ts';
import type { Target } from '../target.ts';
import { METHODS, message } from './frames.ts';

const PAGES = [
  '/livez',
  '/readyz',
  '/readyz?apps',
  '/metrics',
  '/',
  '/x?y#z',
  '//',
  '*',
  'http://[/',
  '/%00',
  '/lingpai.v1.TokenService/',
];
const TYPES = [
  'application/json',
  'application/json; charset=gbk',
  'application/proto',
  'application/connect+json',
  'application/connect+proto',
  'application/grpc-web+proto',
  'application/grpc-web-text',
  'application/grpc',
  'text/plain',
  '',
];
const HEADERS: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['Connect-Timeout-Ms', ['1', '9999999999', '-1', 'x', '99999999999999']],
  ['Connect-Protocol-Version', ['1', '2']],
  ['Content-Encoding', ['gzip', 'identity', 'br']],
  ['Grpc-Timeout', ['99999999H', 'x']],
  ['Origin', ['http://evil.example', 'null', 'http://localhost']],
  ['Expect', ['100-continue', 'x']],
  ['Connection', ['close', 'upgrade', 'keep-alive']],
  ['Upgrade', ['h2c', 'websocket']],
  ['Transfer-Encoding', ['chunked', 'gzip', 'chunked, chunked']],
  ['Sec-Fetch-Site', ['cross-site', 'none']],
  ['Authorization', ['Bearer x']],
];

function encoded(draw: Draw, input: DescMessage, type: string): Buffer {
  const made = message(draw, input);
  const bytes = Buffer.from(toBinary(input, made));
  if (type.includes('connect+proto') || type.includes('grpc')) return grpcMessage(bytes, draw.oneIn(10));
  if (type.includes('proto')) return bytes;
  let json = '{}';
  try {
    json = draw.oneIn(6) ? JSON.stringify(draw.json(3)) : toJsonString(input, made);
  } catch {
    // An enum or a time that has no JSON.
  }
  return type.includes('connect') ? grpcMessage(Buffer.from(json), draw.oneIn(10)) : Buffer.from(json);
}

function request(draw: Draw): Buffer {
  const method = draw.oneIn(5) ? undefined : draw.pick(METHODS);
  const type = draw.oneIn(2) ? 'application/json' : draw.pick(TYPES);
  const whole = method ? encoded(draw, method.input, type) : draw.bytes(20);
  const body = draw.oneIn(3) ? draw.mutated(whole) : whole;
  const length = draw.oneIn(12)
    ? draw.pick(['-1', 'x', '0', '99999999999', String(body.length + 3)])
    : String(body.length);
  const path = method?.path ?? draw.pick(PAGES);
  const verb = draw.oneIn(10)
    ? draw.pick(['GET', 'PUT', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT', 'BREW'])
    : method
      ? 'POST'
      : 'GET';
  const lines = [
    `${verb} ${draw.oneIn(20) ? draw.text(6) : path} HTTP/${draw.oneIn(20) ? draw.pick(['1.0', '2.0', '9']) : '1.1'}`,
    ...(draw.oneIn(15)
      ? []
      : [
          `Host: ${draw.oneIn(8) ? draw.pick(['evil.example', '[::1', 'a b', '', ':', '@', draw.text(4)]) : 'localhost'}`,
        ]),
    ...(type ? [`Content-Type: ${type}`] : []),
    ...(verb === 'GET' && draw.oneIn(2) ? [] : [`Content-Length: ${length}`]),
    ...HEADERS.flatMap(([name, values]) =>
      draw.oneIn(12) ? [`${name}: ${draw.oneIn(6) ? draw.text(4) : draw.pick(values)}`] : [],
    ),
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

/** The HTTP port: bytes that are requests for the most part. */
export const requests: Target = {
  name: 'HTTP requests',
  share: 60,
  atOnce: 64,
  async open() {
    const broker = await FuzzedBroker.start();
    return {
      async take(draw) {
        const pieces = [request(draw), ...(draw.oneIn(4) ? draw.some(3, () => request(draw)) : [])];
        const bytes = draw.oneIn(10) ? [draw.mutated(Buffer.concat(pieces))] : pieces;
        const answer = (
          await talk(broker.http, bytes, {
            cut: draw.oneIn(8),
            isEnough: (came) => pieces.length === 1 && came.includes('\r\n\r\n'),
          })
        ).toString('latin1');
        broker.check();
        if (/^HTTP\/1\.1 500/.test(answer) && !answer.includes('UPSTREAM'))
          throw new Error(`it answers 500: ${answer.slice(0, 300)}`);
      },
      rest: () => broker.rest(),
      [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
    };
  },
};
