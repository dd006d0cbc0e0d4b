import type { Grant, Verdict } from '../core/tokens/ports.ts';
import { probeError, TOKEN_REFUSED, tokenError } from './errcodes.ts';
import type { Answer } from './exchange.ts';
import { assertOk, readFields } from './fields.ts';
import { malformed } from './malformed.ts';
import { tokenId } from './token-id.ts';

/** WeChat says 7200 at most today. Thirty days leave room for change, not for nonsense. */
const MAX_EXPIRES_IN = 30 * 24 * 3600;
const MAX_TOKEN_LENGTH = 2048;

/** The token in a token endpoint's answer. Throws the UpstreamError that says why there is none. */
export function readGrant(answer: Answer, secret: string): Grant {
  const fields = readFields(answer, [secret]);
  assertOk(answer, fields, [secret], tokenError);
  const value = readCredential(fields.access_token, 'access_token');
  return { value, id: tokenId(value), lifetimeMs: readExpiresIn(fields.expires_in) * 1000 };
}

/** WeChat's opinion of `token` in the probe's answer. Throws an UpstreamError when the answer gives none. */
export function readVerdict(answer: Answer, token: string): Verdict {
  const fields = readFields(answer, [token]);
  const { errcode } = fields;
  if (typeof errcode === 'number' && TOKEN_REFUSED.has(errcode)) return { accepted: false, errcode };
  assertOk(answer, fields, [token], probeError);
  if (!Array.isArray(fields.ip_list)) throw malformed('the probe without an ip_list');
  return { accepted: true };
}

/** The text of a token or a ticket, which stands in a field of this name. */
export function readCredential(value: unknown, field: 'access_token' | 'ticket'): string {
  if (value === undefined) throw malformed(`without ${articled(field)}`);
  if (typeof value !== 'string') throw malformed(`with ${articled(field)} that is not text`);
  if (value === '') throw malformed(`with an empty ${field}`);
  if (value.length > MAX_TOKEN_LENGTH)
    throw malformed(`with ${articled(field)} of more than ${MAX_TOKEN_LENGTH} characters`);
  if (!/^[\x21-\x7e]+$/.test(value))
    throw malformed(`with ${articled(field)} that has spaces or unprintable characters`);
  return value;
}

function articled(field: 'access_token' | 'ticket'): string {
  return field === 'ticket' ? 'a ticket' : 'an access_token';
}

/** The life of what WeChat hands out, in seconds. */
export function readExpiresIn(value: unknown): number {
  if (value === undefined) throw malformed('without expires_in');
  if (typeof value !== 'number') throw malformed('with an expires_in that is not a number');
  if (!Number.isInteger(value)) throw malformed('with an expires_in that is not a whole number');
  if (value <= 0) throw malformed('with an expires_in that is not more than 0');
  if (value > MAX_EXPIRES_IN) throw malformed('with an expires_in of more than 30 days');
  return value;
}
