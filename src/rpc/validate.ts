import { LingpaiError, type Violation } from '../core/kernel/errors.ts';
import { urlFault } from '../core/tickets/jsapi-signature.ts';
import type { GetStatusRequest, ListCallersRequest } from '../gen/lingpai/v1/admin_pb.js';
import { type GetTicketRequest, type SignJsapiRequest, TicketType } from '../gen/lingpai/v1/ticket_pb.js';
import type { ForceRefreshRequest, GetRequest, WatchTokenRequest } from '../gen/lingpai/v1/token_pb.js';

const APP_ID = /^[A-Za-z0-9_-]{1,64}$/;
const AN_APP_ID = 'must be 1 to 64 characters of A-Z, a-z, 0-9, "-" and "_"';
const MAX_TOKEN_LENGTH = 2048;
const MAX_APP_IDS = 10_000;
/** A page of callers ends with a name, which comes from a head of 8 KiB. */
const MAX_PAGE_TOKEN = 10_000;
/**
 * What a request may be before it is decoded. WeChat's app ids have 18 characters: 10,000 in app_ids and in
 * known_generations, with their generations, take 500 KB.
 */
export const TOKEN_LIMITS = { watchToken: { bytes: 512 * 1024, fields: 2 * MAX_APP_IDS } } as const;
/** How many apps one GetStatus tells of: the answer then stays below the largest message, whatever WeChat said of each. */
export const STATUS_PAGE = 500;
/** A status travels in HTTP headers, of which clients take 8 KiB, and its details in base64. */
const MAX_DETAIL_LENGTH = 4_000;
/** What a violation takes besides its words. */
const VIOLATION_OVERHEAD = 8;
const MAX_GENERATION = BigInt(Number.MAX_SAFE_INTEGER);

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of GetRequest. */
export function validateGet(request: GetRequest): void {
  // The one call that is worth a shortcut: nothing is allocated for a good request.
  if (APP_ID.test(request.appId) && request.minGeneration <= MAX_GENERATION) return;
  reject([...appId('app_id', request.appId), ...generation('min_generation', request.minGeneration)]);
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of ForceRefreshRequest. */
export function validateForceRefresh({ appId: id, rejected }: ForceRefreshRequest): void {
  const violations = appId('app_id', id);
  if (rejected.case === 'rejectedToken' && (rejected.value === '' || rejected.value.length > MAX_TOKEN_LENGTH))
    violations.push({
      field: 'rejected_token',
      description: `must have 1 to ${MAX_TOKEN_LENGTH} characters, has ${rejected.value.length}`,
    });
  if (rejected.case === 'rejectedGeneration') {
    if (rejected.value < 1n) violations.push({ field: 'rejected_generation', description: 'must be 1 or more' });
    violations.push(...generation('rejected_generation', rejected.value));
  }
  reject(violations);
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of WatchTokenRequest. */
export function validateWatchToken({ appIds, knownGenerations }: WatchTokenRequest): void {
  const known = Object.entries(knownGenerations);
  reject([...tooMany('app_ids', appIds), ...tooMany('known_generations', known)]);
  reject([
    ...appIds.flatMap((id, index) => appId(`app_ids[${index}]`, id)),
    ...known.flatMap(([id, value]) => knownGeneration(id, value)),
  ]);
}

function tooMany(field: string, { length }: readonly unknown[]): Violation[] {
  return length > MAX_APP_IDS ? [{ field, description: `must name at most ${MAX_APP_IDS} apps, names ${length}` }] : [];
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of GetStatusRequest. */
export function validateGetStatus({ appIds, pageToken }: GetStatusRequest): void {
  if (appIds.length > STATUS_PAGE)
    reject([{ field: 'app_ids', description: `must name at most ${STATUS_PAGE} apps, names ${appIds.length}` }]);
  const violations = appIds.flatMap((id, index) => appId(`app_ids[${index}]`, id));
  if (pageToken !== '' && (appIds.length > 0 || !APP_ID.test(pageToken)))
    violations.push({ field: 'page_token', description: 'must be that of the answer before, and go without app_ids' });
  reject(violations);
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of ListCallersRequest. */
export function validateListCallers({ pageToken }: ListCallersRequest): void {
  if (pageToken.length <= MAX_PAGE_TOKEN) return;
  reject([{ field: 'page_token', description: 'must be that of the answer before' }]);
}

/** Any text can be a key: only what can be an app id is repeated. */
function knownGeneration(id: string, value: bigint): Violation[] {
  if (APP_ID.test(id)) return generation(`known_generations["${id}"]`, value);
  return [{ field: 'known_generations', description: `has a key that is no app id, which ${AN_APP_ID}` }];
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of GetTicketRequest. */
export function validateGetTicket({ appId: id, type }: GetTicketRequest): void {
  const violations = appId('app_id', id);
  if (type !== TicketType.JSAPI && type !== TicketType.WX_CARD)
    violations.push({ field: 'type', description: 'must be TICKET_TYPE_JSAPI or TICKET_TYPE_WX_CARD' });
  reject(violations);
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of SignJsapiRequest. */
export function validateSignJsapi({ appId: id, url }: SignJsapiRequest): void {
  const violations = appId('app_id', id);
  const description = urlFault(url);
  if (description !== undefined) violations.push({ field: 'url', description });
  reject(violations);
}

/** What is wrong with an app id. */
export function appId(field: string, value: string): Violation[] {
  if (APP_ID.test(value)) return [];
  const description = value === '' ? 'is required' : AN_APP_ID;
  return [{ field, description }];
}

function generation(field: string, value: bigint): Violation[] {
  if (value <= MAX_GENERATION) return [];
  return [{ field, description: `must be at most ${MAX_GENERATION}: no generation is greater` }];
}

/** Throws INVALID_REQUEST unless there are no violations. */
export function reject(violations: readonly Violation[]): void {
  if (violations.length > 0) throw invalidError(violations);
}

/** INVALID_REQUEST. It names as many violations as a status has room for. */
export function invalidError(violations: readonly Violation[]): LingpaiError {
  const named = violations.slice(0, 3).map(({ field, description }) => `${field} ${description}`);
  const more = violations.length > named.length ? ` (and ${violations.length - named.length} more)` : '';
  return new LingpaiError(`invalid request: ${named.join('; ')}${more}`, {
    reason: 'INVALID_REQUEST',
    violations: leading(violations),
  });
}

function leading(violations: readonly Violation[]): Violation[] {
  let left = MAX_DETAIL_LENGTH;
  return violations.filter(({ field, description }) => {
    left -= field.length + description.length + VIOLATION_OVERHEAD;
    return left >= 0;
  });
}
