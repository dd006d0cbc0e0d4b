import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type SendTemplatesRequest,
  SendTemplatesRequestSchema,
  type SendTemplatesResponse,
  SendTemplatesResponseSchema,
} from '../../src/gen/lingpai/v1/message_pb.js';
import { SendStream } from '../../src/rpc/send-stream.ts';
import { settle } from '../support/clock.ts';

/** A caller who has any number of messages, and says how many were taken. */
class Caller implements AsyncIterableIterator<SendTemplatesRequest> {
  taken = 0;
  readonly #count: number;
  readonly #end: Error | undefined;

  constructor(count: number, end?: Error) {
    this.#count = count;
    this.#end = end;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<SendTemplatesRequest>> {
    if (this.taken < this.#count)
      return { done: false, value: create(SendTemplatesRequestSchema, { correlationId: String(this.taken++) }) };
    if (this.#end) throw this.#end;
    return { done: true, value: undefined };
  }
}

/** Messages under way, ended by hand. */
class Underway {
  readonly open = new Map<string, (answer: SendTemplatesResponse) => void>();
  most = 0;

  readonly send = ({ correlationId }: SendTemplatesRequest): Promise<SendTemplatesResponse> =>
    new Promise((resolve) => {
      this.open.set(correlationId, resolve);
      this.most = Math.max(this.most, this.open.size);
    });

  end(id: string): void {
    this.open.get(id)?.(create(SendTemplatesResponseSchema, { correlationId: id }));
    this.open.delete(id);
  }
}

let underway: Underway;
let draining: AbortController;
beforeEach(() => {
  underway = new Underway();
  draining = new AbortController();
});

function stream(requests: AsyncIterable<SendTemplatesRequest>, limit = 3): SendStream {
  return new SendStream(requests, { send: underway.send, limit, draining: draining.signal });
}

const idOf = async (next: Promise<IteratorResult<SendTemplatesResponse>>) => (await next).value?.correlationId;

describe('backpressure', () => {
  it('reads no more than may be under way', async () => {
    const caller = new Caller(100);
    const answers = stream(caller);
    const first = answers.next();
    await settle();
    expect([caller.taken, underway.open.size]).toEqual([3, 3]);
    underway.end('1');
    expect(await idOf(first)).toBe('1');
    await settle();
    expect([caller.taken, underway.open.size]).toEqual([4, 3]);
  });

  it('reads nothing more while its answers are not read', async () => {
    const caller = new Caller(100);
    const answers = stream(caller);
    await settle();
    for (const id of ['2', '0', '1']) underway.end(id);
    await settle();
    expect([caller.taken, underway.open.size]).toEqual([3, 0]);
    expect(await idOf(answers.next())).toBe('2');
    await settle();
    expect([caller.taken, underway.open.size]).toEqual([4, 1]);
    expect([await idOf(answers.next()), await idOf(answers.next())]).toEqual(['0', '1']);
  });
});

describe('its end', () => {
  it('comes when all are answered', async () => {
    const answers = stream(new Caller(2));
    await settle();
    underway.end('0');
    expect(await idOf(answers.next())).toBe('0');
    let over = false;
    const last = answers.next().then((result) => {
      over = true;
      return result;
    });
    await settle();
    expect(over).toBe(false);
    underway.end('1');
    expect((await last).value.correlationId).toBe('1');
    expect(await answers.next()).toEqual({ done: true, value: undefined });
    expect(await answers.next()).toEqual({ done: true, value: undefined });
  });

  it('comes at once for a caller with nothing to send', async () => {
    expect(await stream(new Caller(0)).next()).toEqual({ done: true, value: undefined });
  });

  it('by a malformed request comes after the answers to what was read before', async () => {
    const answers = stream(new Caller(1, new Error('malformed')));
    const first = answers.next();
    await settle();
    underway.end('0');
    expect(await idOf(first)).toBe('0');
    await expect(answers.next()).rejects.toThrow('malformed');
    expect(await answers.next()).toEqual({ done: true, value: undefined });
  });

  it('by draining comes after the answers to what was read before, and nothing more is begun', async () => {
    const caller = new Caller(9);
    const answers = stream(caller, 1);
    await settle();
    draining.abort(new Error('draining'));
    const first = answers.next();
    await settle();
    underway.end('0');
    expect(await idOf(first)).toBe('0');
    await expect(answers.next()).rejects.toThrow('draining');
    await settle();
    expect([caller.taken, underway.open.size]).toEqual([1, 0]);
  });

  it('by draining does not wait for a caller who sends nothing', async () => {
    const silent: AsyncIterable<SendTemplatesRequest> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    };
    const next = stream(silent).next();
    draining.abort(new Error('draining'));
    await expect(next).rejects.toThrow('draining');
    await expect(stream(new Caller(5)).next()).rejects.toThrow('draining');
  });

  it('by draining leaves alone what comes after it', async () => {
    const late = Promise.withResolvers<IteratorResult<SendTemplatesRequest>>();
    const next = stream({ [Symbol.asyncIterator]: () => ({ next: () => late.promise }) }).next();
    draining.abort(new Error('draining'));
    await expect(next).rejects.toThrow('draining');
    late.resolve({ done: false, value: create(SendTemplatesRequestSchema, { correlationId: 'late' }) });
    await settle();
    expect(underway.open.size).toBe(0);
  });

  it('by a reader who leaves stops reading', async () => {
    const caller = new Caller(100);
    const answers = stream(caller);
    await settle();
    await answers.return();
    for (const id of ['0', '1', '2']) underway.end(id);
    await settle();
    expect(caller.taken).toBe(3);
  });
});

it('100,000 messages are read one for one', async () => {
  const caller = new Caller(100_000);
  let most = 0;
  const answers = new SendStream(caller, {
    limit: 64,
    draining: draining.signal,
    send: async ({ correlationId }) => create(SendTemplatesResponseSchema, { correlationId }),
  });
  let read = 0;
  for await (const _ of answers) {
    read++;
    most = Math.max(most, caller.taken - read);
  }
  expect(read).toBe(100_000);
  expect(most).toBeLessThanOrEqual(65);
});
