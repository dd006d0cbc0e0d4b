import { tlsFault } from '../../core/kernel/tls-faults.ts';
import { StoreError } from '../errors.ts';

/** What a user of Redis' access control must be allowed besides the keys and channels. docs/cluster.md has the same. */
export const PERMISSIONS =
  '+eval +evalsha +@hash +@sortedset +@set +@string +del +exists +scan +publish +subscribe +info +time +ping +select +client|setname';

/** What Redis' and the network's codes mean to an operator. */
const IN_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections: nothing listens there. Start Redis, or correct store.url',
  ENOTFOUND: 'cannot be found: the host name is unknown. Correct store.url',
  EAI_AGAIN: 'cannot be found: the host name cannot be looked up now. Look at the name service',
  EHOSTUNREACH: 'cannot be reached. Look at the network',
  ENETUNREACH: 'cannot be reached. Look at the network',
  ECONNRESET: 'closed the connection. Look at its log; with TLS write "rediss://"',
  EPIPE: 'closed the connection. Look at its log',
  ClientOfflineError: 'cannot be reached: the connection is lost and is being made again',
  ClientClosedError: 'cannot be reached: the connection was given up and is being made again',
  SocketClosedUnexpectedlyError: 'closed the connection. Look at its log; with TLS write "rediss://"',
  ConnectionTimeoutError: 'cannot be reached in time. Look at the network; without TLS write "redis://"',
  DisconnectsClientError: 'was too slow: the connection was given up and is being made again',
  NOAUTH: 'wants a password. Write redis://:PASSWORD@HOST in store.url',
  NOPASS:
    'has no password, and store.url gives one. Write redis://HOST in store.url, or set one in Redis (requirepass)',
  WRONGPASS: 'does not accept the user or the password. Correct store.url',
  NOPERM: `does not allow this user what Lingpai needs: ~PREFIX* &PREFIX* ${PERMISSIONS}, where PREFIX is "lingpai:" or what store.url says. Set it with ACL SETUSER`,
  READONLY: 'is a replica, which cannot be written. Name the primary in store.url',
  MISCONF: 'cannot write its own data to disk, and so takes none. Look at its log',
  OOM: 'is out of memory (maxmemory). Give it more, with maxmemory-policy noeviction',
  LOADING: 'is still loading its data. Try again when it is done',
  NODB: 'has no database of this number (its setting "databases" says how many there are). Correct store.url',
  BUSY: 'is busy with a script of another program',
  WRONGTYPE: 'has keys of another program under this prefix. Choose another one: store.url ?prefix=NAME',
};

/** What went wrong with this server, as a StoreError. Redis' own words may quote what it was given, so only its code is kept. */
export function explainRedis(error: unknown, name: string): StoreError {
  const code = codeOf(error);
  if (error instanceof StoreError && code === '') {
    return error.message.startsWith(name) ? error : new StoreError(`${name}: ${error.message}`);
  }
  const words = IN_WORDS[code] ?? tlsFault(code, 'store.url') ?? 'cannot be used as a store';
  return new StoreError(`${name} ${words} (${code || 'unknown error'}).`);
}

/** Whether it is the answer of a replica to what would write. */
export function isReadOnly(error: unknown): boolean {
  return codeOf(error) === 'READONLY';
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error) || error instanceof StoreError) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if ('originalError' in error) return codeOf(error.originalError);
  // An AggregateError of all the addresses of a name.
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  // Redis 7.0, and later ones: what a script may not do is told without the code.
  if (/^ERR (The user executing the script|ACL failure in script)\b/.test(error.message)) return 'NOPERM';
  if (/^ERR (AUTH <password> called without any password|Client sent AUTH, but no password is set)/.test(error.message))
    return 'NOPASS';
  if (error.message.startsWith('ERR DB index is out of range')) return 'NODB';
  // Redis' errors begin with their code; errors of scripts wrap it.
  const [, wrapped] =
    /\b(NOAUTH|WRONGPASS|NOPERM|READONLY|MISCONF|OOM|LOADING|BUSY|WRONGTYPE)\b/.exec(error.message) ?? [];
  return wrapped ?? error.constructor.name;
}
