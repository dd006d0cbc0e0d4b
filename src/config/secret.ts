import { resolve } from 'node:path';
import type * as z from 'zod';
import { whyUnreadable } from './files.ts';
import type { Segments } from './problem.ts';
import type { pointerSchema, secretSchema } from './schema.ts';

/** Where secrets are looked up. */
export interface SecretSources {
  readonly env: NodeJS.ProcessEnv;
  /** The folder at which relative paths start. */
  readonly folder: string;
  readonly read: (path: string) => Promise<string>;
}

/** The text of a secret, or what is wrong with it. `at` leads on from the key that has it or points to it. */
export type ResolvedSecret =
  | { readonly ok: true; readonly text: string; readonly at: Segments; readonly file: string | undefined }
  | { readonly ok: false; readonly at: Segments; readonly message: string };

/** Finds the text of one AppSecret. It never throws, and no message holds any part of a secret. */
export async function resolveSecret(
  secret: z.output<typeof secretSchema>,
  sources: SecretSources,
): Promise<ResolvedSecret> {
  if (typeof secret === 'string') {
    const name = variableOf(secret);
    if (name) return refused([], `is the name of a variable, and is not filled in; write { env: ${name} }`);
    return checked({ ok: true, text: secret, at: [], file: undefined });
  }
  return checked(await resolvePointer(secret, 'the AppSecret', sources));
}

/** Finds the text of a setting that stands elsewhere, which messages call `thing`. It never throws. */
export async function resolvePointer(
  pointer: z.output<typeof pointerSchema>,
  thing: string,
  { env, folder, read }: SecretSources,
): Promise<ResolvedSecret> {
  if ('env' in pointer) {
    const text = env[pointer.env];
    if (text) return { ok: true, text, at: ['env'], file: undefined };
    // A lower-case name may be the secret itself, written in the wrong place.
    const name = CONSTANT.test(pointer.env) ? `the environment variable ${pointer.env}` : 'this environment variable';
    return refused(['env'], `${name} is ${text === undefined ? 'not set' : 'empty'}; set it to ${thing}`);
  }
  const file = resolve(folder, pointer.file);
  try {
    const text = (await read(file)).replace(/\r?\n$/, '');
    if (text !== '') return { ok: true, text, at: ['file'], file };
    return refused(['file'], `the file is empty; put ${thing} in it`);
  } catch (error) {
    return refused(['file'], `the file ${whyUnreadable(error, `relative paths start at ${folder}`)}`);
  }
}

/** A name that nobody chooses for a secret. */
const CONSTANT = /^[A-Z_][A-Z0-9_]{0,63}$/;

/**
 * The variable that a text is meant to be filled in from, in the way of shells and templates: "NAME" where its name may be a
 * part of a secret, undefined where the text is none. `anywhere`: it may be a part of the text only.
 */
export function variableOf(text: string, anywhere = false): string | undefined {
  const [, name = BARE.exec(text)?.[1]] = (anywhere ? BRACED_ANYWHERE : BRACED).exec(text) ?? [];
  return name === undefined || CONSTANT.test(name) ? name : 'NAME';
}

const BRACED_ANYWHERE = /\$[{(]([A-Za-z_]\w*)(?::?[-?=+:][^{}()]*)?[})]/;
const BRACED = new RegExp(`^${BRACED_ANYWHERE.source}$`);
const BARE = /^[$%]([A-Za-z_]\w*)%?$/;

function checked(secret: ResolvedSecret): ResolvedSecret {
  if (secret.ok && secret.text.length > 256)
    return refused(secret.at, 'the AppSecret is longer than 256 characters; write the AppSecret and nothing else');
  if (secret.ok && /[\s\p{Cc}]/u.test(secret.text))
    return refused(
      secret.at,
      'the AppSecret has white space or control characters in it; write the AppSecret and nothing else',
    );
  return secret;
}

function refused(at: Segments, message: string): ResolvedSecret {
  return { ok: false, at, message };
}
