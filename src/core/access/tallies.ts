import { type About, type AuditLine, about, appName, type Counted, MAX_TOKEN_IDS, OTHER, short } from './audit-line.ts';

/** What happened since the last line about it. */
interface Tally {
  /** What tells it apart. */
  readonly key: Key;
  readonly about: About;
  readonly tokenIds: string[];
  count: number;
  first: number;
  last: number;
}

/** Looked up part by part: to join the parts would cost a Get twice as much. */
type Key = readonly string[];
type Branches = Map<string, Branches | Tally>;

/** How Tallies count. */
export interface TalliesOptions {
  /** How many are told apart. */
  readonly most: number;
  /** Told of the first of a kind at once, which is not counted then. Without: all are counted. */
  readonly onFirst?: (line: AuditLine) => void;
}

/** How many callers have a tally for all their apps and peers when there are too many of these. */
const MAX_CALLERS = 1_000;

/**
 * Counts events by all that tells their lines apart: caller, credential, peer, app, outcome. Only so many are told apart,
 * since whoever calls chooses some of it: beyond that a caller's apps and peers become OTHER, and when that is not enough
 * either, callers do.
 */
export class Tallies {
  readonly #options: TalliesOptions;
  #tallies: Tally[] = [];
  #root: Branches = new Map();

  constructor(options: TalliesOptions) {
    this.#options = options;
  }

  /** Whether nothing is counted, and no first one remembered. */
  get isEmpty(): boolean {
    return this.#tallies.length === 0;
  }

  /** Counts one; `now` is in wall-clock milliseconds. */
  count(event: Counted, now: number): void {
    const key = keyOf(event);
    const known = this.#find(key) ?? (this.#isFull ? this.#find(this.#otherKey(event)) : undefined);
    const tally = known ?? (this.#isFull ? this.#other(event) : this.#add(key, about(event)));
    const { onFirst } = this.#options;
    if (!known && onFirst) onFirst({ ...tally.about, count: 1, first: now, last: now });
    else add(tally, event, now);
  }

  /** Takes out the lines of what was counted. A first one is forgotten when nothing came after it. */
  due(): AuditLine[] {
    const tallies = this.#tallies;
    this.#tallies = [];
    this.#root = new Map();
    const lines: AuditLine[] = [];
    for (const { key, about, tokenIds, count, first, last } of tallies) {
      if (count === 0) continue;
      lines.push({ ...about, ...(about.event === 'token.read' && { tokenIds }), count, first, last });
      if (this.#options.onFirst) this.#add(key, about);
    }
    return lines;
  }

  get #isFull(): boolean {
    return this.#tallies.length >= this.#options.most;
  }

  #find(key: Key): Tally | undefined {
    let at: Branches | Tally | undefined = this.#root;
    for (const part of key) at = (at as Branches | undefined)?.get(part);
    return at as Tally | undefined;
  }

  #add(key: Key, about: About): Tally {
    const tally = { key, about, tokenIds: [], count: 0, first: 0, last: 0 };
    this.#tallies.push(tally);
    let at = this.#root;
    for (const part of key.slice(0, -1)) {
      const next = (at.get(part) as Branches | undefined) ?? new Map();
      at.set(part, next);
      at = next;
    }
    at.set(key.at(-1) ?? '', tally);
    return tally;
  }

  /** What events that are not told apart are counted by: their caller, while there is room for it. */
  #otherKey(event: Counted): Key {
    if (!('call' in event)) return OTHERS;
    const key = [ELSE, event.call.caller.name];
    return this.#tallies.length < this.#options.most + MAX_CALLERS || this.#find(key) ? key : OTHERS;
  }

  #other(event: Counted): Tally {
    const key = this.#otherKey(event);
    if (!('call' in event)) return this.#add(key, { event: event.event, peer: OTHER, method: OTHER, cause: OTHER });
    return this.#add(key, { event: event.event, caller: key[1] || OTHER, keyId: null, peer: OTHER, appId: OTHER });
  }
}

/** No peer is called so, and no caller has an empty name. */
const ELSE = '\0';
const OTHERS: Key = [ELSE, ''];

/** Keys of one kind of event have the same number of parts. */
function keyOf(event: Counted): Key {
  if (event.event === 'authn.failed') {
    const { peer, method, cause, caller = '', keyId } = event;
    return [peer, short(method), short(cause), caller, keyId ?? ''];
  }
  const { caller, peer } = event.call;
  const key = [peer, caller.name, caller.credentialId ?? '', appName(event.appId)];
  if (event.event === 'token.read') key.push(event.kind ?? '');
  if (event.event === 'messages.sent' || event.event === 'gateway.called') key.push(event.outcome);
  if (event.event === 'access.denied') key.push(event.verb);
  return key;
}

function add(tally: Tally, event: Counted, now: number): void {
  if (tally.count++ === 0) tally.first = now;
  tally.last = now;
  if (event.event !== 'token.read') return;
  const { tokenIds } = tally;
  if (tokenIds.length < MAX_TOKEN_IDS && !tokenIds.includes(event.tokenId)) tokenIds.push(event.tokenId);
}
