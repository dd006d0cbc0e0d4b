import { setBounded } from './bounded.ts';
import type { Told } from './told.ts';
import { told } from './told.ts';

/** What is known of the request of a call. */
export interface Origin {
  readonly path: string;
  /** Its query, without the question mark. */
  readonly query: string;
  readonly body: string;
  readonly ip: string;
}

interface Failed {
  readonly appId: string;
  readonly time: number;
  readonly origin: Origin;
  readonly response: string;
}

const DAY_MS = 86_400_000;
/** WeChat answers for a rid as long. */
const LIFE_MS = 7 * DAY_MS;
/** Failed calls that are remembered, and how much of a body. */
const MOST_FAILED = 10_000;
const BODY_CHARACTERS = 1_000;

const NOBODY: Origin = { path: '', query: '', body: '', ip: '' };

/** The calls that failed, by the rid in their errmsg. What is kept of them holds no secret, and of a token its beginning. */
export class Rids {
  readonly #failed = new Map<string, Failed>();

  /** A call of this app failed. */
  add(
    rid: string,
    { appId, time, origin = NOBODY, response }: Omit<Failed, 'origin'> & { origin?: Origin | undefined },
  ): void {
    const query = masked(origin.query);
    const body = masked(origin.body.slice(0, BODY_CHARACTERS));
    setBounded(this.#failed, rid, { appId, time, origin: { ...origin, query, body }, response }, MOST_FAILED);
  }

  /** What `/cgi-bin/openapi/rid/get` tells an app. */
  tell(rid: string, appId: string, now: number): Told {
    const [, seconds] = /^([\da-f]{8})-[\da-f]{8}-[\da-f]{8}$/.exec(rid) ?? [];
    if (seconds === undefined) return { errcode: 76002 };
    if (now - Number.parseInt(seconds, 16) * 1000 > LIFE_MS) return { errcode: 76004 };
    const failed = this.#failed.get(rid);
    if (!failed) return { errcode: 76001 };
    if (failed.appId !== appId) return { errcode: 76003 };
    const { time, origin, response } = failed;
    if (origin.path.startsWith('/sns/')) return { errcode: 76022 };
    return told({
      errcode: 0,
      errmsg: 'ok',
      request: {
        invoke_time: Math.floor(time / 1000),
        cost_in_ms: 1,
        request_url: origin.query,
        request_body: origin.body,
        response_body: response,
        client_ip: origin.ip,
      },
    });
  }
}

/** A query or a JSON body without secrets: of a token its first characters stay, as WeChat shows it. */
function masked(text: string): string {
  return text
    .replace(/\b(access_token=[^&]{0,6})[^&]*/g, '$1xxxx')
    .replace(/\b((?:app)?secret=)[^&]*/g, '$1xxxx')
    .replace(/("(?:app)?secret"\s*:\s*)"(?:[^"\\]|\\.|\\$)*("|$)/g, '$1"xxxx"');
}
