import { z } from 'zod';
import { ENDPOINTS, PATH_LENGTH } from './paths.ts';

const pathError = `write a path of at most ${PATH_LENGTH} characters that begins with "/", without query`;

/** The body of `POST /sandbox/stubs`. */
export const stubSchema = z.strictObject({
  path: z
    .string({ error: pathError })
    .max(PATH_LENGTH, { error: pathError })
    .regex(/^\/[^?#\s]*$/, { error: pathError })
    .refine((path) => !ENDPOINTS.has(path) && !/^\/sandbox(\/|$)/.test(path), {
      error: 'the sandbox answers this path itself; to change an answer inject a fault',
    }),
  body: z.unknown().refine((body) => body !== undefined, { error: 'write the answer: a text as it is, or any JSON' }),
});
