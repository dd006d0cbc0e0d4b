import { afterRefusal, isRefused, isRepeatable, type TokenSource, tokenIn, wallTime, withToken } from './refusal.ts';

type Answer = (error: unknown, data?: unknown, response?: unknown) => void;

/** What is used of wechat-api's class. */
interface WechatApi {
  new (
    // biome-ignore lint/suspicious/noExplicitAny: a class that is extended has to take any arguments
    ...args: any[]
  ): {
    request(url: string, options: object, answer: Answer): void;
    preRequest(method: unknown, args: unknown, repeated: boolean): void;
  };
}

interface Bodies {
  readonly data?: unknown;
  readonly stream?: unknown;
}

/**
 * wechat-api with the tokens of a Lingpai broker: `new (withLingpai(API))(source)`. It is given no AppSecret, and cannot ask WeChat for a
 * token. A token that WeChat refused (40001, 40014, 42001) is reported, and the call repeated once with the newer one. A body that is a
 * stream (an upload) was read, and is not sent again: the call fails, and the next has the newer token.
 */
export function withLingpai<T extends WechatApi>(Api: T): new (source: TokenSource) => InstanceType<T> {
  class LingpaiApi extends Api {
    readonly #source: TokenSource;

    // biome-ignore lint/suspicious/noExplicitAny: TypeScript wants it of a class that extends another
    constructor(...args: any[]) {
      const source = args[0] as TokenSource;
      const held = (answer: Answer): void => {
        let token: object;
        try {
          token = { accessToken: source.token.value, expireTime: wallTime(source.token) };
        } catch (error) {
          answer(error);
          return;
        }
        answer(null, token);
      };
      super(source.app, '', held, (_: unknown, saved: Answer) => saved(null));
      this.#source = source;
    }

    /** The token that is held: nothing is asked of WeChat. */
    getAccessToken(answer: Answer): this {
      (this as unknown as { getToken(answer: Answer): void }).getToken(answer);
      return this;
    }

    /** The SDK repeats nothing by itself. */
    override preRequest(method: unknown, args: unknown): void {
      super.preRequest(method, args, true);
    }

    override request(url: string, options: Bodies | Answer, answer: Answer): void {
      if (typeof options === 'function') {
        this.request(url, {}, options);
        return;
      }
      super.request(url, options, async (error, data, response) => {
        const used = tokenIn(url);
        const newest = !error && used && isRefused(data) ? await afterRefusal(this.#source, used) : undefined;
        // Out of the promise: what the caller throws is none of ours.
        if (newest === undefined || !isRepeatable(options.data, options.stream))
          setImmediate(answer, error, data, response);
        else super.request(withToken(url, newest), options, answer);
      });
    }
  }
  return LingpaiApi as unknown as new (
    source: TokenSource,
  ) => InstanceType<T>;
}
