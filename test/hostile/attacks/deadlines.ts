import { create, toBinary } from '@bufbuild/protobuf';
import { GetRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { APP } from '../siege.ts';
import { call, happens, http, http2Session, open } from '../strangers.ts';

const GET = '/lingpai.v1.TokenService/Get';
const WATCH = '/lingpai.v1.TokenService/WatchToken';
/** Each is more than 2^31 ms. */
const LONG = ['99999999H', '99999999M', '2147484S', '99999999S'];
const LONG_MS = ['2147483648', '4294967296', '9999999999'];
/** A watch that lives so long was not ended by its deadline. */
const ALIVE_MS = 300;

/** Deadlines that no timer can measure. */
export const deadlines: readonly Attack[] = [
  {
    name: 'deadlines: grpc-timeout and connect-timeout-ms above 2^31 ms',
    async play({ grpc, http: address, held, check }) {
      const session = held.use(await http2Session(grpc));
      const message = grpcMessage(toBinary(GetRequestSchema, create(GetRequestSchema, { appId: APP })));
      for (const timeout of LONG) {
        const headers = { 'grpc-timeout': timeout };
        const { status } = await call(session, GET, message, headers);
        check(status === 0, `Get with grpc-timeout ${timeout} is answered: 0, not ${status}`);
        const { stream } = open(session, WATCH, headers);
        held.defer(() => void stream.destroy());
        stream.end(grpcMessage(Buffer.alloc(0)));
        await happens(stream, 'data', 2_000);
        check(!(await happens(stream, 'end', ALIVE_MS)) && !stream.destroyed, `a watch with ${timeout} stays open`);
      }
      for (const timeout of LONG_MS) {
        const headers = { 'content-type': 'application/json', 'connect-timeout-ms': timeout };
        const body = JSON.stringify({ appId: APP });
        const { status } = await http(address, { method: 'POST', path: GET, headers, body });
        check(status === 200, `Get with connect-timeout-ms ${timeout} is answered: 200, not ${status}`);
        const web = { 'content-type': 'application/grpc-web+proto', 'grpc-timeout': '99999999H' };
        const answer = await http(address, { method: 'POST', path: GET, headers: web, body: message });
        check(/grpc-status: ?0/.test(answer.body.toString('latin1')), 'Get over gRPC-Web with 99999999H is answered');
      }
    },
  },
];
