import type { Config } from '../config/config.ts';
import { ConfigError, type ConfigProblem } from '../config/problem.ts';
import { UpstreamError } from '../core/kernel/errors.ts';
import type { App } from '../core/tokens/ports.ts';
import { systemClock } from '../ops/clock.ts';
import { WeChatClient } from '../wechat/client.ts';
import { counted } from './counted.ts';
import { Failure } from './exit.ts';
import { load } from './load.ts';

/** What WeChat says of one app. */
interface Finding {
  readonly app_id: string;
  readonly ok: boolean;
  /** What is wrong and what to do; for an app that is well, what was seen. */
  readonly message: string;
  readonly reason?: string;
  readonly errcode?: number;
  readonly rid?: string;
}

/** Asked at once; the rest wait. */
const AT_ONCE = 8;

/** `lingpai check`: the file, and with `online` each app. Exit code 2: the file is wrong; 1: an app is. */
export async function check(options: { config: string; online?: boolean; json?: boolean }): Promise<void> {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  let config: Config;
  try {
    config = await load(options.config);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (options.json) print(JSON.stringify({ ok: false, problems: error.problems satisfies readonly ConfigProblem[] }));
    throw new Failure(`${counted(error.problems.length, 'problem')}:\n${error.message}`, 2);
  }
  const findings = options.online ? await ask(config) : [];
  const bad = findings.filter((finding) => !finding.ok).length;
  if (options.json) print(JSON.stringify({ ok: bad === 0, problems: [], apps: findings }));
  else {
    print(`${options.config} is well-formed: ${counted(config.apps.length, 'app')}`);
    for (const { app_id, ok, message } of findings) print(`${ok ? 'ok  ' : 'FAIL'} ${app_id}: ${message}`);
  }
  if (bad > 0) throw new Failure(`WeChat gives no token for ${bad} of ${findings.length} apps`);
}

async function ask(config: Config): Promise<Finding[]> {
  const { timeoutMs } = config.settings;
  const wechat = new WeChatClient({ ...config.upstream, timeoutMs, clock: systemClock });
  const waiting = [...config.apps.entries()];
  const findings: Finding[] = [];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      findings[next[0]] = await askOne(wechat, next[1], timeoutMs);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await wechat.close();
  return findings;
}

/** A read of the stable endpoint checks secret, address and account, and touches no classic token. */
async function askOne(wechat: WeChatClient, app: App, timeoutMs: number): Promise<Finding> {
  try {
    await wechat.fetchToken(app, 'stable', AbortSignal.timeout(timeoutMs));
    return { app_id: app.appId, ok: true, message: 'WeChat knows the app and accepts its secret and this address' };
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error;
    const { reason, message, answer } = error;
    return {
      app_id: app.appId,
      ok: false,
      message,
      reason,
      ...(answer && { errcode: answer.errcode, rid: answer.rid }),
    };
  }
}
