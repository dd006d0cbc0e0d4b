import type { Config } from '../config/config.ts';
import { isLoopback } from '../core/kernel/web.ts';
import { systemClock } from '../ops/clock.ts';
import { WeChatClient, type WeChatClientOptions } from '../wechat/client.ts';

/** What calls WeChat by this configuration, in the environment of this process. */
export function createWeChatClient(config: Config, observe?: WeChatClientOptions['observe']): WeChatClient {
  return new WeChatClient({ ...upstreamOptions(config, process.env), ...(observe && { observe }) });
}

/** How WeChat is reached by this configuration, in this environment. */
export function upstreamOptions({ upstream, settings }: Config, env: NodeJS.ProcessEnv): WeChatClientOptions {
  const { baseUrl, proxy } = upstream;
  const ignoredProxy =
    proxy === null && !isOnThisMachine(baseUrl) ? proxyVariable(env, new URL(baseUrl).protocol) : null;
  return { baseUrl, proxy, ignoredProxy, timeoutMs: settings.timeoutMs, clock: systemClock };
}

/** Whether AppSecrets and tokens leave this machine unencrypted. */
export function isInClear(baseUrl: string): boolean {
  return new URL(baseUrl).protocol === 'http:' && !isOnThisMachine(baseUrl);
}

function isOnThisMachine(url: string): boolean {
  return isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, ''));
}

/** The variable by which other programs find a proxy; null: there is none. */
function proxyVariable(env: NodeJS.ProcessEnv, protocol: string): string | null {
  const names = [`${protocol.slice(0, -1)}_proxy`, 'all_proxy'].flatMap((name) => [name.toUpperCase(), name]);
  return names.find((name) => env[name]) ?? null;
}
