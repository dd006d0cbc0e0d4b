import type { IncomingMessage, ServerResponse } from 'node:http';
import { LingpaiError } from '../core/kernel/errors.ts';

/** The time was over. */
export class Late extends Error {}

/** Answers as WeChat does. A HEAD has no body to say it in, and gets a status that says so much. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  errcode: number,
  errmsg: string,
  done: () => void,
): void {
  const body = Buffer.from(JSON.stringify({ errcode, errmsg }));
  const status = request.method === 'HEAD' ? 502 : 200;
  response.writeHead(status, ['content-type', 'application/json; charset=utf-8', 'content-length', `${body.length}`]);
  response.end(body, done);
}

/** What a caller may read of an error: no more than what was written for it. */
export function wordsOf(error: unknown): string {
  if (error instanceof LingpaiError) return error.message;
  return error instanceof Late ? 'it did not come in time.' : 'something went wrong in the broker.';
}
