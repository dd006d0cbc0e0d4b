import type { AuditLine } from '../core/access/audit-line.ts';

/**
 * How long a value may be as it is written. All together a line has at most 4,096 bytes: so many go into a pipe as a whole,
 * and no other line of the same output gets into the middle of one.
 */
const LONGEST = { caller: 2_048, app_id: 160, peer: 64, method: 160, cause: 256, outcome: 160, verb: 16, key_id: 64 };
/** Of a list, in all. */
const LONGEST_LIST = 480;

/**
 * An event as a line of JSON, with its line break. `audit` comes first, so that no line of the log can be taken for one; names
 * are in snake_case and times in RFC 3339. All of it is printable ASCII, whatever a caller has chosen: other characters are
 * escaped, and what is too long ends in `...`.
 */
export function auditJson(line: AuditLine, now: number): string {
  const { event, caller, keyId, peer, verb, appId, appIds, tokenIds, kind, outcome, method, cause, rules, apps } = line;
  const fields = {
    audit: true,
    time: time(now),
    event,
    caller: text('caller', caller),
    key_id: text('key_id', keyId),
    peer: text('peer', peer),
    method: text('method', method),
    cause: text('cause', cause),
    verb: text('verb', verb),
    app_id: text('app_id', appId),
    app_ids: list(appIds),
    token_ids: list(tokenIds),
    kind,
    outcome: text('outcome', outcome),
    rules,
    apps,
    count: line.count,
    first: time(line.first),
    last: time(line.last),
  };
  return `${ascii(JSON.stringify(fields))}\n`;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function text(name: keyof typeof LONGEST, value: string | null | undefined): string | null | undefined {
  return value ? cut(value, LONGEST[name]) : value;
}

/** The first of the texts, as many as there is room for. */
function list(texts: readonly string[] | undefined): string[] | undefined {
  if (!texts) return undefined;
  let left = LONGEST_LIST;
  return texts.filter((each) => {
    left -= written(each) + 1;
    return left >= 0;
  });
}

function cut(value: string, longest: number): string {
  if (written(value) <= longest) return value;
  let left = longest - '"..."'.length;
  let end = 0;
  for (const each of value) {
    left -= written(each) - 2;
    if (left < 0) break;
    end += each.length;
  }
  return `${value.slice(0, end)}...`;
}

/** How many bytes a value takes. */
function written(value: string): number {
  return ascii(JSON.stringify(value)).length;
}

function ascii(json: string): string {
  return json.replaceAll(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
