import { resolve } from 'node:path';
import { MAX_ISSUERS, MAX_SEAL_KEYS } from './access-schema.ts';
import { whyUnreadable } from './files.ts';
import { formatPath, type Segments } from './problem.ts';
import type { SecretSources } from './secret.ts';
import { adviseOnCertificates, judgeTls } from './tls-pair.ts';

/** What others know of the files of `tls`, `access` and `store.seal`. */
export interface AccessJudges {
  /** What a key file has: the names of its keys; or what is wrong with it, and what to do. Default: nothing is known of it. */
  readonly readKeys?: (text: string) => { readonly names: readonly string[] } | { readonly error: string };
  /** What is wrong with a JWK set, and what to do; undefined: nothing. */
  readonly adviseOnJwks?: (text: string) => string | undefined;
  /** What is wrong with the text of a key of the store, and what to do; undefined: nothing. */
  readonly adviseOnSeal?: (text: string) => string | undefined;
  /** The wall clock, in milliseconds since 1970. Default: no certificate is found to have expired. */
  readonly now?: () => number;
}

/** Something that is said of a place in the file. */
export interface Finding {
  readonly at: Segments;
  readonly message: string;
}

/** What stands in the files of `tls`, `access` and `store.seal`. */
export interface AccessFiles {
  /** The text of the file that a setting names; undefined: it could not be read. */
  text(at: Segments): string | undefined;
  /** The names of the keys; undefined: nothing is known of them. */
  readonly keyNames: ReadonlySet<string> | undefined;
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  /** The absolute paths of files that nobody else may read, and of the others. */
  readonly secretFiles: readonly string[];
  readonly publicFiles: readonly string[];
}

interface Named {
  readonly at: Segments;
  /** What the file is to hold. */
  readonly thing: string;
  /** `fetched`: it is secret, and read anew whenever it is used. */
  readonly kind: 'public' | 'secret' | 'fetched';
  readonly judge?: ((text: string) => string | undefined) | undefined;
  readonly mayBeMissing?: true;
}

/** Reads the files, whatever else is wrong with the config file. It never throws, and no message holds any part of a file. */
export async function readAccessFiles(
  value: unknown,
  { folder, read }: Pick<SecretSources, 'folder' | 'read'>,
  judges: AccessJudges,
): Promise<AccessFiles> {
  const texts = new Map<string, string>();
  const problems: Finding[] = [];
  const warnings: Finding[] = [];
  const secretFiles: string[] = [];
  const publicFiles: string[] = [];
  let keyNames: ReadonlySet<string> | undefined;
  const judgeKeys = (text: string) => {
    const found = judges.readKeys?.(text);
    if (found && 'names' in found) keyNames = new Set(found.names);
    return found && 'error' in found ? found.error : undefined;
  };

  for (const { at, thing, kind, judge, mayBeMissing } of namedFiles(value, { ...judges, judgeKeys })) {
    const written = valueAt(value, at);
    if (typeof written !== 'string' || written === '') continue;
    const file = resolve(folder, written);
    if (kind !== 'fetched') (kind === 'public' ? publicFiles : secretFiles).push(file);
    try {
      const text = (await read(file)).replace(/\r?\n$/, '');
      const message = text === '' ? `the file is empty; put ${thing} in it` : judge?.(text);
      if (message !== undefined) problems.push({ at, message });
      else texts.set(formatPath(at), text);
    } catch (error) {
      if (mayBeMissing && (error as NodeJS.ErrnoException).code === 'ENOENT')
        warnings.push({ at, message: 'the file does not exist yet; make the first key: lingpai keys create NAME' });
      else problems.push({ at, message: `the file ${whyUnreadable(error, `relative paths start at ${folder}`)}` });
    }
  }

  const text = (at: Segments) => texts.get(formatPath(at));
  const pair = { cert: text(['tls', 'cert']), key: text(['tls', 'key']), clientCa: text(['tls', 'client_ca']) };
  const tls = judgeTls(pair, judges.now?.() ?? Number.NaN);
  problems.push(...tls.problems.map(({ file, message }) => ({ at: ['tls', file], message })));
  warnings.push(...tls.warnings.map(({ file, message }) => ({ at: ['tls', file], message })));
  return { text, keyNames, problems, warnings, secretFiles, publicFiles };
}

function namedFiles(
  value: unknown,
  judges: AccessJudges & { readonly judgeKeys: (text: string) => string | undefined },
): Named[] {
  const issuers = Array.from({ length: MAX_ISSUERS }, (_, i): Named[] => {
    const at = ['access', 'tokens', i, 'jwks'];
    return [
      { at: [...at, 'file'], thing: 'a JWK set', kind: 'public', judge: judges.adviseOnJwks },
      { at: [...at, 'ca'], thing: 'certificates in PEM', kind: 'public', judge: adviseOnCertificates },
      { at: [...at, 'token'], thing: 'the bearer token', kind: 'fetched' },
    ];
  });
  const seal = Array.from({ length: MAX_SEAL_KEYS }, (_, i): Named[] => {
    const at = ['store', 'seal', i];
    // A key of this text would be taken for the word.
    const judge = (text: string) => (text.trim() === 'plain' ? NO_SEAL_KEY : judges.adviseOnSeal?.(text));
    return valueAt(value, at) === 'plain' ? [] : [{ at, thing: 'a key of the store', kind: 'secret', judge }];
  });
  return [
    { at: ['tls', 'cert'], thing: 'the certificate', kind: 'public' },
    { at: ['tls', 'key'], thing: 'the private key', kind: 'secret' },
    { at: ['tls', 'client_ca'], thing: 'certificates in PEM', kind: 'public' },
    {
      at: ['access', 'keys'],
      thing: 'what "lingpai keys" writes',
      kind: 'public',
      judge: judges.judgeKeys,
      mayBeMissing: true,
    },
    ...issuers.flat(),
    ...seal.flat(),
  ];
}

const NO_SEAL_KEY = 'the file holds no key; write one: lingpai store key > FILE';

function valueAt(value: unknown, at: Segments): unknown {
  let found = value;
  for (const segment of at) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, segment)) return undefined;
    found = (found as Record<string | number, unknown>)[segment];
  }
  return found;
}
