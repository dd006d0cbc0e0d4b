import { writeSync } from 'node:fs';
import type { LineOutput } from './line-writer.ts';

/** What a pipe takes as a whole or not at all: PIPE_BUF of Linux. */
const PIPE_BYTES = 4_096;

/** By file descriptor, what was taken in part, and by whom: nobody else writes in the middle of its line. */
const inPart = new Map<number, LineOutput>();

/**
 * Standard output, for one writer of several. A write is made at once, so that what was written before a crash is there, and
 * never waits: `fd` must not block where it is a pipe or a socket; 1 does not, once `process.stdout` was looked at.
 */
export function standardOutput(fd = 1): LineOutput {
  if (fd === 1) void process.stdout;
  const output: LineOutput = {
    most: PIPE_BYTES,
    write(lines, from) {
      if ((inPart.get(fd) ?? output) !== output) return from;
      try {
        const to = from + writeSync(fd, lines, from, lines.length - from, null);
        if (to === lines.length) inPart.delete(fd);
        else inPart.set(fd, output);
        return to;
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return from;
        throw error;
      }
    },
    async close() {
      if (inPart.get(fd) === output) inPart.delete(fd);
    },
  };
  return output;
}
