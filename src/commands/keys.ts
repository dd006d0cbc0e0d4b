import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { hashOf, idOf, isKey, newKey, publicKeyOf, type RandomBytes } from '../access/key.ts';
import { adviseOnName, KeyFileError, MAX_KEYS, parseKeys, type StoredKey } from '../access/key-file.ts';
import { changeKeys } from '../access/write-keys.ts';
import { FileError, readText } from '../config/files.ts';
import { keyFilePath } from '../config/key-file-path.ts';
import { ConfigError } from '../config/problem.ts';
import { AdminService, type Caller, CallerMethod } from '../gen/lingpai/v1/admin_pb.js';
import { systemClock } from '../ops/clock.ts';
import { type CallOptions, calling } from './client.ts';
import { counted } from './counted.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { asLines, complain, jsonLine, print } from './output.ts';
import { tableLines } from './table.ts';

/** Where the key file is named. */
interface KeysOptions {
  readonly config: string;
}

/** For how many milliseconds a key is good. */
type Life = number | 'never';

/** What the commands are given of the machine. */
export interface KeysDeps {
  readonly now: () => number;
  readonly randomBytes: RandomBytes;
}

const MACHINE: KeysDeps = { now: () => systemClock.now(), randomBytes };

const DAY_MS = 86_400_000;
const LIST_TIMEOUT_MS = 10_000;
/** A key that expired longer ago goes when another is made: until then its callers are told that it has expired. */
const KEPT_EXPIRED_MS = 90 * DAY_MS;

/** `lingpai keys create NAME`: a new key, which stands on standard output once; all words go to standard error. */
export async function createKey(
  name: string,
  options: KeysOptions & { readonly expires: Life },
  io: Io,
  deps: KeysDeps = MACHINE,
): Promise<void> {
  const advice = adviseOnName(name);
  if (advice !== undefined) throw new Failure(`the name ${advice}`, 2);
  const path = await pathOf(options.config);
  const made = makeKey(name, options.expires, deps);
  let others = 0;
  await change(path, (keys) => {
    others = keys.filter((key) => key.name === name && !isOver(key, deps.now())).length;
    return withKey(keys, made.stored, deps.now());
  });
  print(`${made.key}\n`, io);
  const beside = others === 0 ? '' : ` It is good beside ${counted(others, 'other key')} of this name.`;
  complain(`${made.words}${beside}\n${GRANT(name)}`, io);
}

/** `lingpai keys rotate NAME`: a new key; those that there were expire after the overlap. */
export async function rotateKey(
  name: string,
  options: KeysOptions & { readonly expires: Life; readonly overlap: number },
  io: Io,
  deps: KeysDeps = MACHINE,
): Promise<void> {
  const path = await pathOf(options.config);
  const made = makeKey(name, options.expires, deps);
  const now = made.stored.created;
  const end = now + options.overlap;
  await change(path, (keys) => {
    if (!keys.some((key) => key.name === name))
      throw new Failure(`${path} has no key of this name; "lingpai keys list" shows those that there are`);
    const ending = keys.map((key) =>
      key.name === name && (key.expires === null || key.expires > end) ? { ...key, expires: end } : key,
    );
    return withKey(ending, made.stored, now);
  });
  print(`${made.key}\n`, io);
  complain(`${made.words} The others of this name are good until ${timeText(end)}.\n`, io);
}

/** `lingpai keys revoke NAME|ID`: every key of a name, or one, is good no more. */
export async function revokeKey(nameOrId: string, options: KeysOptions, io: Io): Promise<void> {
  if (isKey(nameOrId)) {
    throw new Failure(
      `this is a key, and others on the machine see command lines; revoke it by its id: ${idOf(hashOf(nameOrId))}`,
      2,
    );
  }
  const path = await pathOf(options.config);
  let revoked: StoredKey[] = [];
  await change(path, (keys) => {
    revoked = keys.filter(({ name, id }) => name === nameOrId || id === nameOrId);
    if (revoked.length === 0)
      throw new Failure(`${path} has no key of this name or id; "lingpai keys list" shows those that there are`);
    return keys.filter((key) => !revoked.includes(key));
  });
  complain(asLines(revoked.map(({ name, id }) => `revoked ${name} ${id}: brokers end its streams within 5 s`)), io);
}

/** `lingpai keys list`: the keys of the key file. */
export async function listKeys(
  options: KeysOptions & Omit<CallOptions, 'addr'> & { readonly addr?: string },
  io: Io,
  deps: KeysDeps = MACHINE,
): Promise<void> {
  const path = await pathOf(options.config);
  const keys = await readKeys(path);
  const { addr } = options;
  const uses = addr === undefined ? undefined : await usesOf({ ...options, addr }, io);
  const now = deps.now();
  if (options.json) {
    const shown = keys.map((key) => ({
      name: key.name,
      id: key.id,
      created: timeText(key.created),
      expires: key.expires === null ? null : timeText(key.expires),
      expired: isOver(key, now),
      ...(uses && { lastUse: uses.get(key.id)?.lastUse ?? null, openStreams: uses.get(key.id)?.openStreams ?? 0 }),
    }));
    return print(jsonLine({ keys: shown }), io);
  }
  if (keys.length === 0) return print(`no keys in ${path}; make one: lingpai keys create NAME\n`, io);
  const rows = keys.map((key) => {
    const expires = key.expires === null ? 'never' : `${timeText(key.expires)}${isOver(key, now) ? ' (expired)' : ''}`;
    const use = uses?.get(key.id);
    const used = uses ? [use?.lastUse ?? '-', String(use?.openStreams ?? 0)] : [];
    return [key.name, key.id, timeText(key.created), expires, ...used];
  });
  print(asLines(tableLines(['NAME', 'ID', 'CREATED', 'EXPIRES', ...(uses ? ['LAST USE', 'STREAMS'] : [])], rows)), io);
}

/** What a broker knows of the use of keys, by their ids. */
async function usesOf(options: CallOptions, io: Io) {
  const callers = await calling(AdminService, options, io, async (client) => {
    const all: Caller[] = [];
    let pageToken = '';
    do {
      const page = await client.listCallers({ pageToken }, { timeoutMs: LIST_TIMEOUT_MS });
      all.push(...page.callers);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return all;
  });
  const byKey = callers.filter(({ method }) => method === CallerMethod.KEY);
  return new Map(
    byKey.map(({ credentialId, lastUseTime, openStreams }) => [
      credentialId,
      { lastUse: lastUseTime ? timeText(timestampMs(lastUseTime)) : null, openStreams },
    ]),
  );
}

function makeKey(name: string, life: Life, deps: KeysDeps) {
  const key = newKey(deps.randomBytes);
  const hash = hashOf(key);
  const created = deps.now();
  const expires = life === 'never' ? null : created + life;
  const stored: StoredKey = { name, id: idOf(hash), created, expires, hash, public: publicKeyOf(key) };
  const until = expires === null ? 'never expires' : `expires at ${timeText(expires)}`;
  return {
    key,
    stored,
    words: `key:${name} ${stored.id} ${until}. The key is shown this once: only its hash is kept.`,
  };
}

const GRANT = (name: string) =>
  `A key may do nothing until a rule of the configuration says so:\n  access: { rules: [{ who: ["key:${name}"], may: [read], apps: [APP_ID] }] }\n`;

function withKey(keys: readonly StoredKey[], key: StoredKey, now: number): StoredKey[] {
  const kept = keys.filter(({ expires }) => expires === null || expires > now - KEPT_EXPIRED_MS);
  if (kept.length >= MAX_KEYS)
    throw new Failure(`there are ${MAX_KEYS} keys, and a file has no more; revoke those that nobody uses`);
  return [...kept, key];
}

async function pathOf(config: string): Promise<string> {
  const path = await keyFilePath(config).catch((error: unknown) => {
    throw error instanceof ConfigError ? new Failure(error.message, 2) : error;
  });
  if (path !== undefined) return path;
  throw new Failure(
    `${config} names no key file; write in it where keys are to be kept:\n  access: { keys: lingpai.keys, rules: [] }`,
    2,
  );
}

async function readKeys(path: string): Promise<StoredKey[]> {
  try {
    return parseKeys(await readText(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw explain(path, error);
  }
}

async function change(path: string, how: (keys: StoredKey[]) => StoredKey[]): Promise<void> {
  await changeKeys(path, how, { read: readText, wait: (ms) => setTimeout(ms) }).catch((error: unknown) => {
    throw explain(path, error);
  });
}

function explain(path: string, error: unknown): unknown {
  if (error instanceof KeyFileError) return new Failure(`the key file cannot be used: ${path}\n${error.message}`);
  if (error instanceof FileError) return new Failure(`the key file ${path} ${error.message}`);
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  if (code === 'ENOENT') return new Failure(`${path} cannot be made: its folder is not there`);
  return new Failure(
    `${path} cannot be read or changed (${code}); ${ADVICE[code] ?? 'look at the file and its folder'}`,
  );
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: 'run this as a user who may write to the file and its folder',
  EPERM: 'run this as a user who may write to the file and its folder',
  EROFS: 'it is mounted read-only: change it where it comes from',
  EBUSY: 'it is mounted by itself, and cannot be replaced: change it where it comes from',
};

function isOver({ expires }: StoredKey, now: number): boolean {
  return expires !== null && expires <= now;
}

function timeText(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}
