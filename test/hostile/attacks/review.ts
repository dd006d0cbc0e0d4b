import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { ReviewTemplateRequestSchema } from '../../../src/gen/lingpai/v1/message_pb.js';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { call, http2Session } from '../strangers.ts';

const REVIEW = '/lingpai.v1.MessageService/ReviewTemplate';
/** NFKC makes 18 characters of it. */
const GROWING = '\uFDFA';
const KEYWORDS = 64;
const NAME_LENGTH = 64;
const TITLES = 10_000;
const AT_ONCE = 8;
/** They give way to others, and so take a while together. */
const PATIENCE_MS = 60_000;
/** Texts whose first 47 of 64 characters are the same are just too different: only the last row of a comparison shows it. */
const SAME = 47;

/** A text of so many characters, different from all others of this kind at its end alone. */
function near(index: number): string {
  return `${'a'.repeat(SAME)}${String(index).padStart(5, '0').repeat(4)}`.slice(0, NAME_LENGTH);
}

/** The same, of characters that grow. */
function growing(index: number): string {
  return `${GROWING.repeat(NAME_LENGTH - 2)}${String(index).padStart(2, '0')}`;
}

function request(title: string, name: (index: number) => string, titles: number): Buffer {
  const keywords = Array.from({ length: KEYWORDS }, (_, index) => ({ name: name(index), example: 'x' }));
  const existingTitles = Array.from({ length: titles }, (_, index) => near(index));
  const message = create(ReviewTemplateRequestSchema, { title, keywords, existingTitles });
  return grpcMessage(toBinary(ReviewTemplateRequestSchema, message));
}

/** What is quadratic in what a caller sends. */
export const review: readonly Attack[] = [
  {
    name: 'review: 12 KB of U+FDFA',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const bytes = request('title', growing, 0);
      const { status } = await call(session, REVIEW, bytes);
      check(status === Code.InvalidArgument, `keywords that grow beyond the limit are INVALID_ARGUMENT, not ${status}`);
    },
  },
  {
    name: 'review: 64 keywords and 10,000 titles that are all near, 8 at once',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const bytes = request(`${'a'.repeat(SAME)}${'b'.repeat(NAME_LENGTH - SAME)}`, near, TITLES);
      const ends = await Promise.all(
        Array.from({ length: AT_ONCE }, () => call(session, REVIEW, bytes, {}, PATIENCE_MS)),
      );
      const allowed: number[] = [0, Code.InvalidArgument, Code.ResourceExhausted];
      const others = ends.filter(({ status }) => !allowed.includes(status)).map(({ status }) => status);
      check(others.length === 0, `each is answered or refused for its size, not with ${others.join(', ')}`);
    },
  },
];
