/**
 * A polite client, in a process of its own: `polite.ts SCHEME GRPC HTTP APP`, `http` or, by TLS, `https`; it shows the key in LINGPAI_KEY, if there is one. It asks Get every 20 ms on a connection that it keeps,
 * and now and then on a new one and over HTTP. It prints a line for each answer: when it was due on the clock that the
 * machine's processes share, how long it took from then on, and what went wrong.
 */
import { request as requestPlain } from 'node:http';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { request as requestSecure } from 'node:https';
import { create, toBinary } from '@bufbuild/protobuf';
import { GetRequestSchema } from '../../src/gen/lingpai/v1/token_pb.js';
import { sharedNow } from '../support/shared-now.ts';

const GET = '/lingpai.v1.TokenService/Get';
const PERIOD_MS = 20;
/** Every so many periods also by this way. */
const NEW_EVERY = 10;
const HTTP_EVERY = 5;
const PATIENCE_MS = 20_000;

const [scheme = '', grpc = '', http = '', appId = ''] = process.argv.slice(2);
const request = scheme === 'https' ? requestSecure : requestPlain;
const key = process.env['LINGPAI_KEY'];
const credentials = key ? { authorization: `Bearer ${key}` } : {};
/** What it wants to know is how long an answer takes, and not who gives it. */
const TRUSTING = { rejectUnauthorized: false };
const message = toBinary(GetRequestSchema, create(GetRequestSchema, { appId }));
const framed = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);

/** What went wrong; undefined: nothing. */
type Outcome = string | undefined;

function overGrpc(session: ClientHttp2Session): Promise<Outcome> {
  return new Promise((resolve) => {
    const headers = {
      ':method': 'POST',
      ':path': GET,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...credentials,
    };
    const stream = session.request(headers);
    const judge = (all: IncomingHttpHeaders) =>
      resolve(all['grpc-status'] === '0' ? undefined : `grpc-status ${all['grpc-status']}: ${all['grpc-message']}`);
    stream.on('trailers', judge);
    // An answer without a message has its status in its headers.
    stream.on('response', (all) => all['grpc-status'] !== undefined && judge(all));
    stream.once('error', (error) => resolve(error.message));
    stream.once('close', () => resolve(`reset with code ${stream.rstCode}`));
    stream.setTimeout(PATIENCE_MS, () => resolve('no answer'));
    stream.resume().end(framed);
  });
}

function overNew(): Promise<Outcome> {
  return new Promise((resolve) => {
    const session = connect(`${scheme}://${grpc}`, TRUSTING);
    session.once('error', (error) => resolve(error.message));
    session.once('connect', async () => {
      resolve(await overGrpc(session));
      session.destroy();
    });
  });
}

function overHttp(): Promise<Outcome> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', ...credentials };
    const call = request(
      `${scheme}://${http}${GET}`,
      { method: 'POST', headers, agent: false, ...TRUSTING },
      (response) => {
        response
          .resume()
          .once('end', () => resolve(response.statusCode === 200 ? undefined : `${response.statusCode}`));
      },
    );
    call.setTimeout(PATIENCE_MS, () => call.destroy(new Error('no answer')));
    call.once('error', (error) => resolve(error.message)).end(JSON.stringify({ appId }));
  });
}

async function ask(way: 'kept' | 'new' | 'http', at: number, call: () => Promise<Outcome>): Promise<void> {
  const failure = await call();
  process.stdout.write(`${JSON.stringify({ msg: 'get', way, at, ms: sharedNow() - at, failure })}\n`);
}

let kept = connect(`${scheme}://${grpc}`, TRUSTING);
kept.on('error', () => {});
let due = sharedNow();
for (let turn = 0; ; turn++) {
  // A client that is itself held up asks late, and measures from when it ought to have asked.
  due += PERIOD_MS;
  const pause = due - sharedNow();
  if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
  if (kept.destroyed || kept.closed) {
    kept = connect(`${scheme}://${grpc}`, TRUSTING);
    kept.on('error', () => {});
  }
  void ask('kept', due, () => overGrpc(kept));
  if (turn % NEW_EVERY === 0) void ask('new', due, overNew);
  if (turn % HTTP_EVERY === 0) void ask('http', due, overHttp);
}
