import { afterRefusal, isRefused, isRepeatable, type TokenSource, tokenIn, wallTime, withToken } from './refusal.ts';

/** What is used of co-wechat-api's class. */
interface CoWechatApi {
  new (
    // biome-ignore lint/suspicious/noExplicitAny: a class that is extended has to take any arguments
    ...args: any[]
  ): { request(url: string, options?: object, retry?: number): Promise<unknown> };
}

interface Bodies {
  readonly data?: unknown;
  readonly stream?: unknown;
}

/**
 * co-wechat-api with the tokens of a Lingpai broker: `new (withLingpai(API))(source)`. It is given no AppSecret, and cannot ask WeChat for a
 * token. A token that WeChat refused (40001, 40014, 42001) is reported, and the call repeated once with the newer one. A body that is a
 * stream (an upload) was read, and is not sent again: the call fails, and the next has the newer token.
 */
export function withLingpai<T extends CoWechatApi>(Api: T): new (source: TokenSource) => InstanceType<T> {
  class LingpaiApi extends Api {
    readonly #source: TokenSource;

    // biome-ignore lint/suspicious/noExplicitAny: TypeScript wants it of a class that extends another
    constructor(...args: any[]) {
      const source = args[0] as TokenSource;
      const getToken = async () => ({ accessToken: source.token.value, expireTime: wallTime(source.token) });
      super(source.app, '', getToken, async () => {}, true); // true: neither asks WeChat nor repeats by itself
      this.#source = source;
    }

    /** The token that is held: nothing is asked of WeChat. */
    async getAccessToken(): Promise<unknown> {
      return (this as unknown as { ensureAccessToken(): Promise<unknown> }).ensureAccessToken();
    }

    override async request(url: string, options?: Bodies): Promise<unknown> {
      try {
        return await super.request(url, options, 0);
      } catch (error) {
        const used = tokenIn(url);
        if (used === undefined || !isRefused({ errcode: (error as { code?: unknown }).code })) throw error;
        const newest = await afterRefusal(this.#source, used);
        if (newest === undefined || !isRepeatable(options?.data, options?.stream)) throw error;
        return super.request(withToken(url, newest), options, 0);
      }
    }
  }
  return LingpaiApi as unknown as new (
    source: TokenSource,
  ) => InstanceType<T>;
}
