import type { IncomingMessage } from 'node:http';
import { abortable } from '../core/kernel/abortable.ts';
import { ERRCODES, Refused } from './answers.ts';

/** What a body may hold that is read whole: a few short fields, of which one may be a JWT. */
const MAX_BYTES = 16_384;

/** The whole of a small body. Rejects with Refused where it is larger, or does not come, and with the signal's reason. */
export async function smallBody(request: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
  return await abortable(collected(request), signal);
}

async function collected(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    // What is not read is read by Node and thrown away, so that the answer arrives.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BYTES) throw new Refused(ERRCODES.BODY_WRONG, `the body has more than ${MAX_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(ERRCODES.BODY_WRONG, 'the body broke off');
  }
  return Buffer.concat(chunks);
}
