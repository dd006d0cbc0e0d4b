import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { SendTemplateRequestSchema, SendTemplatesRequestSchema } from '../../../src/gen/lingpai/v1/message_pb.js';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { call, http, http2Session } from '../strangers.ts';

const SERVICE = '/lingpai.v1.MessageService';
/** With names as short as can be, this many are in a message of 1 MiB. */
const TOO_MANY = 100_000;
const CALLS = 10;

/** What a message is to say. */
export const messages: readonly Attack[] = [
  {
    name: 'messages: 100,000 keywords, 10 times by each way',
    async play({ grpc, http: address, held, check }) {
      const data = Object.fromEntries(Array.from({ length: TOO_MANY }, (_, i) => [i.toString(36), {}]));
      const message = create(SendTemplateRequestSchema, { data });
      const one = toBinary(SendTemplateRequestSchema, message);
      const many = toBinary(SendTemplatesRequestSchema, create(SendTemplatesRequestSchema, { message }));
      const session = held.use(await http2Session(grpc));
      for (let i = 0; i < CALLS; i++) {
        for (const [method, bytes] of [['SendTemplate', one] as const, ['SendTemplates', many] as const]) {
          const end = await call(session, `${SERVICE}/${method}`, grpcMessage(bytes));
          const isRefused = end.status === Code.InvalidArgument && decodeURI(end.message).includes('more than 1000');
          check(
            isRefused,
            `${method} is refused for its fields before they are decoded, not ${end.status}: ${end.message}`,
          );
        }
        const headers = { 'content-type': 'application/proto' };
        const { status, body } = await http(address, {
          method: 'POST',
          path: `${SERVICE}/SendTemplate`,
          headers,
          body: one,
        });
        check(status === 400 && body.includes('more than 1000'), `over HTTP too, not ${status}: ${body}`);
      }
    },
  },
];
