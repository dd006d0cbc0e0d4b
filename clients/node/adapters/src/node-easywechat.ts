import { afterRefusal, isRefused, isRepeatable, type TokenSource } from './refusal.ts';

/** What is used of an application of node-easywechat: OfficialAccount or MiniApp. */
interface EasyWechat {
  // biome-ignore lint/suspicious/noExplicitAny: each application has its own type of it
  setAccessToken(token: any): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: it is axios
  getHttpClient(): { getInstance(): any };
}

interface Sent {
  readonly params?: { readonly access_token?: string };
  readonly data?: unknown;
  readonly lingpaiRepeated?: true;
}

/**
 * Gives an application of node-easywechat the tokens of a Lingpai broker, before its first call; `secret` of its configuration may be any
 * text, since nothing asks WeChat for a token. A token that WeChat refused (40001, 40014, 42001) is reported, and the call repeated once with
 * the newer one. A body that is a stream (an upload) was read, and is not sent again: the call fails, and the next has the newer token.
 * Returns the application.
 */
export function useLingpai<T extends EasyWechat>(app: T, source: TokenSource): T {
  app.setAccessToken({
    getToken: async () => source.token.value,
    toQuery: async () => ({ access_token: source.token.value }),
    refresh: async () => source.token.value,
  });
  const axios = app.getHttpClient().getInstance();
  axios.interceptors.response.use(async (response: { readonly config: Sent; readonly data: unknown }) => {
    const { config, data } = response;
    const used = config.params?.access_token;
    if (used === undefined || config.lingpaiRepeated || !isRefused(data)) return response;
    const newest = await afterRefusal(source, used);
    if (newest === undefined || !isRepeatable(config.data)) return response;
    return axios.request({ ...config, params: { ...config.params, access_token: newest }, lingpaiRepeated: true });
  });
  return app;
}
