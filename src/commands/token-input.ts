import { textOf } from '../config/files.ts';
import { Failure } from './exit.ts';

/** A token's value from standard input, as `flag` asks for. Throws a Failure where there is none. */
export async function tokenFromInput(flag: string, stdin: AsyncIterable<Buffer>): Promise<string> {
  const value = (await standardInput(flag, stdin)).trim();
  if (value === '') throw new Failure(`${flag}: standard input is empty; write the token to it`, 2);
  return value;
}

/** More than any token has. */
const MAX_INPUT_BYTES = 64 * 1024;

async function standardInput(flag: string, stdin: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_INPUT_BYTES)
      throw new Failure(`${flag}: standard input is longer than 64 KiB; write the token to it`, 2);
  }
  try {
    return textOf(Buffer.concat(chunks));
  } catch (error) {
    throw new Failure(`${flag}: standard input ${(error as Error).message}`, 2);
  }
}
