import { createHash } from 'node:crypto';
import { setBounded } from './bounded.ts';
import type { SecretCall } from './calls.ts';
import type { Fresh } from './fresh.ts';
import { type Told, told } from './told.ts';

/** The codes by which users log in: any code is good once, but for those that begin with "invalid". */
export class Codes {
  readonly #used = new Map<string, true>();

  /** Takes a code of an app. Returns the openid of the user, the same for the same code, or why it is refused. */
  use(appId: string, code: string): string | 41008 | 40029 | 40163 {
    if (code === '') return 41008;
    if (code.startsWith('invalid') || code.length > 128) return 40029;
    const name = JSON.stringify([appId, code]);
    if (this.#used.has(name)) return 40163;
    setBounded(this.#used, name, true);
    return `o${createHash('sha256').update(name).digest('base64url').slice(0, 27)}`;
  }
}

/** What is told to the call by which a user logs in: to a mini program, or to a web page. What it holds is no token of the app's. */
export function login(call: Extract<SecretCall, { code: string }>, codes: Codes, fresh: Fresh): Told {
  if (call.grantType !== 'authorization_code') return { errcode: 40002 };
  const openid = codes.use(call.appId, call.code);
  if (typeof openid === 'number') return { errcode: openid };
  if (call.kind === 'jscode2session') return told({ session_key: fresh.sessionKey(), openid });
  const [access_token, refresh_token] = [fresh.token(110), fresh.token(110)];
  return told({ access_token, expires_in: 7200, refresh_token, openid, scope: 'snsapi_base' });
}
