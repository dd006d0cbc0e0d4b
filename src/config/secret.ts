import { resolve } from 'node:path';
import type * as z from 'zod';
import type { Segments } from './problem.ts';
import type { secretSchema } from './schema.ts';

/** Where secrets are looked up. */
export interface SecretSources {
  readonly env: NodeJS.ProcessEnv;
  /** The folder at which relative paths start. */
  readonly folder: string;
  readonly read: (path: string) => Promise<string>;
}

/** The text of a secret, or what is wrong with it. `at` leads on from the app's `secret` key. */
export type ResolvedSecret =
  | { readonly ok: true; readonly text: string; readonly file: string | undefined }
  | { readonly ok: false; readonly at: Segments; readonly message: string };

/** Finds the text of one secret. It never throws, and no message holds any part of a secret. */
export async function resolveSecret(
  secret: z.output<typeof secretSchema>,
  sources: SecretSources,
): Promise<ResolvedSecret> {
  if (typeof secret === 'string') return checked(secret, [], undefined);
  if ('env' in secret) {
    const text = sources.env[secret.env];
    if (text) return checked(text, ['env'], undefined);
    // A lower-case name may be the secret itself, written in the wrong place.
    const name = /^[A-Z_][A-Z0-9_]*$/.test(secret.env)
      ? `the environment variable ${secret.env}`
      : 'this environment variable';
    return refused(['env'], `${name} is ${text === undefined ? 'not set' : 'empty'}; set it to the AppSecret`);
  }
  const file = resolve(sources.folder, secret.file);
  try {
    const text = (await sources.read(file)).replace(/\r?\n$/, '');
    if (text !== '') return checked(text, ['file'], file);
    return refused(['file'], 'the file is empty; put the AppSecret in it');
  } catch (error) {
    return refused(['file'], `the file ${whyUnreadable(error)}; relative paths start at ${sources.folder}`);
  }
}

/** Says in words why a file could not be read. */
export function whyUnreadable(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOENT') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  if (code === 'EISDIR') return 'is a folder';
  return `cannot be read (${code ?? 'unknown error'})`;
}

function checked(text: string, at: Segments, file: string | undefined): ResolvedSecret {
  if (/[\s\p{Cc}]/u.test(text))
    return refused(
      at,
      'the AppSecret has white space or control characters in it; write the AppSecret and nothing else',
    );
  return { ok: true, text, file };
}

function refused(at: Segments, message: string): ResolvedSecret {
  return { ok: false, at, message };
}
