import type { ServerResponse } from 'node:http';
import { LingpaiError, type Reason } from '../core/kernel/errors.ts';

/** WeChat's codes, as far as the gateway gives them by itself. */
export const ERRCODES = {
  /** The broker's own trouble: SDKs may try again. */
  BUSY: -1,
  OK: 0,
  /** Where an SDK gets another stand-in by its key: once, for then a wrong key is KEY_WRONG. */
  STAND_IN_WRONG: 40001,
  GRANT_TYPE_WRONG: 40002,
  /** The app is unknown, or not for this caller: nobody learns which. */
  APP_WRONG: 40013,
  URL_WRONG: 40066,
  /** SDKs give up; on a token call 40001 or 42001 would have some ask without end. */
  KEY_WRONG: 40125,
  TOKEN_MISSING: 41001,
  APP_MISSING: 41002,
  SECRET_MISSING: 41004,
  GET_NEEDED: 43001,
  POST_NEEDED: 43002,
  TOO_OFTEN: 45011,
  BODY_WRONG: 47001,
  NOT_ALLOWED: 48001,
} as const;

/** A call that the gateway answers with an error of WeChat's form. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly errcode: number;

  /** `errmsg` says what is wrong and what to do. It holds nothing of what the caller sent but names of apps and paths. */
  constructor(errcode: number, errmsg: string) {
    super(errmsg);
    this.errcode = errcode;
  }
}

/** What failed: a call that shows a secret, to get a token, or one that shows a stand-in. */
export type Stage = 'token' | 'call';

const CODES: Readonly<Record<Stage, Partial<Record<Reason, number>>>> = {
  token: {
    CREDENTIALS_MISSING: ERRCODES.SECRET_MISSING,
    CREDENTIALS_INVALID: ERRCODES.KEY_WRONG,
    CREDENTIALS_EXPIRED: ERRCODES.KEY_WRONG,
    ACCESS_DENIED: ERRCODES.APP_WRONG,
    APP_NOT_FOUND: ERRCODES.APP_WRONG,
    CALLER_LIMITED: ERRCODES.TOO_OFTEN,
  },
  call: {
    // Another stand-in would change nothing.
    CREDENTIALS_MISSING: ERRCODES.NOT_ALLOWED,
    CREDENTIALS_INVALID: ERRCODES.STAND_IN_WRONG,
    CREDENTIALS_EXPIRED: ERRCODES.STAND_IN_WRONG,
    ACCESS_DENIED: ERRCODES.NOT_ALLOWED,
    APP_NOT_FOUND: ERRCODES.APP_WRONG,
    CALLER_LIMITED: ERRCODES.TOO_OFTEN,
  },
};

const NO_APP =
  'there is no such app here that this key may be used for: see appid, access.rules and apps of the broker';
const SENTENCES: Readonly<Record<Stage, Partial<Record<Reason, string>>>> = {
  token: {
    CREDENTIALS_MISSING: 'appsecret is missing: send a key of the broker as secret',
    CREDENTIALS_INVALID: 'the secret is not accepted here: send a key of the broker as secret, never the AppSecret',
    CREDENTIALS_EXPIRED: 'the key that was sent as secret has expired: get a new one',
    ACCESS_DENIED: NO_APP,
    APP_NOT_FOUND: NO_APP,
  },
  call: {
    CREDENTIALS_MISSING: 'this access_token is of a client certificate: show that certificate at each call',
    CREDENTIALS_INVALID: 'the access_token is not one of this broker, or its key was revoked: get another one here',
    CREDENTIALS_EXPIRED: 'the key of this access_token has expired: get another one here with a new key',
  },
};

/** Any error as a caller is told of it. Undefined: it is a fault of ours, of which the caller learns nothing. */
export function refusalOf(error: unknown, stage: Stage): Refused | undefined {
  if (error instanceof Refused) return error;
  if (!(error instanceof LingpaiError) || error.reason === 'INTERNAL') return undefined;
  const { reason, message } = error;
  return new Refused(CODES[stage][reason] ?? ERRCODES.BUSY, SENTENCES[stage][reason] ?? message);
}

/** Answers as WeChat does: status 200, JSON. */
export function answer(response: ServerResponse, body: Readonly<Record<string, string | number>>): void {
  const text = JSON.stringify(body);
  response
    .writeHead(200, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
    })
    .end(text);
}
