import { KEY_PREFIX } from './key.ts';

/** A key as the key file has it: nothing of it helps to make a call. */
export interface StoredKey {
  /** Whose key it is; the principal is `key:NAME`. Several keys may have one name. */
  readonly name: string;
  /** The first 12 hex digits of the hash. */
  readonly id: string;
  /** Wall-clock milliseconds since 1970. */
  readonly created: number;
  /** The same, from when on it is no longer good; null: never. */
  readonly expires: number | null;
  /** The key's SHA-256 in hex. */
  readonly hash: string;
  /** The public half of its Ed25519 pair, for stand-ins: 32 bytes in base64url. */
  readonly public: string;
}

/** The most keys in a file: of the longest names they are less than 1 MiB, which is what is read of one. */
export const MAX_KEYS = 2_500;

const HEAD = `# Who may call Lingpai by a key: hashes, of which no key can be made. Written by "lingpai keys"; one key a line.\n`;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ID = /^[0-9a-f]{12}$/;
const FIELDS = ['name', 'id', 'created', 'expires', 'hash', 'public'];
const SHOWN_PROBLEMS = 20;

/** What is wrong with the name of a key, and what to write; undefined: nothing. */
export function adviseOnName(name: string): string | undefined {
  if (name.startsWith(KEY_PREFIX)) return 'looks like a key; write the name of who is to have it';
  if (!NAME.test(name)) return 'is not 1 to 64 letters, digits, ".", "_" and "-", with a letter or digit first';
  return ID.test(name) ? 'looks like the id of a key; write a name that no id can be' : undefined;
}

/** A key file that cannot be used. Each line of its message is `line N MESSAGE`, and quotes nothing of the file. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
}

/** The keys of a key file, in its order. Throws a KeyFileError. */
export function parseKeys(text: string): StoredKey[] {
  const keys: StoredKey[] = [];
  const problems: string[] = [];
  const lineOfHash = new Map<string, number>();
  const lineOfId = new Map<string, number>();
  for (const [i, line] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    if (keys.length > MAX_KEYS || problems.length >= SHOWN_PROBLEMS) break;
    const written = line.trim();
    if (written === '' || written.startsWith('#')) continue;
    const key = parseLine(written);
    if (typeof key === 'string') {
      problems.push(`line ${i + 1} ${key}`);
      continue;
    }
    const twin = lineOfHash.get(key.hash);
    const namesake = lineOfId.get(key.id);
    if (twin !== undefined) problems.push(`line ${i + 1} is the key of line ${twin} again; keep one of the two`);
    else if (namesake !== undefined)
      problems.push(`line ${i + 1} has the id of line ${namesake}; revoke one of the two and make another`);
    lineOfHash.set(key.hash, i + 1);
    lineOfId.set(key.id, i + 1);
    keys.push(key);
  }
  if (keys.length > MAX_KEYS) problems.push(`it has more than ${MAX_KEYS} keys; revoke those that nobody uses`);
  if (problems.length > 0) throw new KeyFileError(problems.join('\n'));
  return keys;
}

/** The text of a key file with these keys. */
export function formatKeys(keys: readonly StoredKey[]): string {
  const lines = keys.map(({ name, id, created, expires, hash, public: half }) => {
    const times = { created: timeText(created), expires: expires === null ? null : timeText(expires) };
    return `${JSON.stringify({ name, id, ...times, hash, public: half })}\n`;
  });
  return HEAD + lines.join('');
}

function timeText(time: number): string {
  return new Date(time).toISOString();
}

function parseLine(line: string): StoredKey | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'is not JSON; restore the line, or remove it and make the key again with "lingpai keys"';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return 'is not a JSON object; restore the line, or remove it';
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const missing = FIELDS.find((field) => !(field in fields));
  if (missing !== undefined) return `has no "${missing}"; restore the line, or remove it and make the key again`;
  if (Object.keys(fields).length > FIELDS.length)
    return `has a field too many; it has ${FIELDS.map((field) => `"${field}"`).join(', ')} and nothing else`;
  const { name, id, hash, public: half } = fields;
  const nameAdvice = typeof name === 'string' ? adviseOnName(name) : 'is no text';
  if (typeof name !== 'string' || nameAdvice !== undefined) return `"name" ${nameAdvice}`;
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash))
    return '"hash" is not 64 hex digits in small letters; make the key again';
  if (id !== hash.slice(0, 12)) return '"id" is not the first 12 digits of "hash"; restore the line';
  if (typeof half !== 'string' || !/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(half))
    return '"public" is not 32 bytes in base64url; make the key again';
  const created = timeOf(fields['created']);
  if (created === undefined) return `"created" ${NO_TIME}`;
  const expires = fields['expires'] === null ? null : timeOf(fields['expires']);
  if (expires === undefined) return `"expires" ${NO_TIME}, or null for never`;
  return { name, id, created, expires, hash, public: half };
}

const NO_TIME = 'is no time; write it as 2026-01-31T12:00:00Z';

function timeOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/.test(value)) return undefined;
  const time = Date.parse(value);
  // Date.parse makes the 2nd of March of the 30th of February.
  return Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== value.slice(0, 10) ? undefined : time;
}
