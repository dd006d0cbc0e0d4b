import { load } from '../app/load.ts';
import { createWeChatClient } from '../app/upstream.ts';
import type { Config } from '../config/config.ts';
import { ConfigError, type ConfigProblem, formatProblem } from '../config/problem.ts';
import { UpstreamError } from '../core/kernel/errors.ts';
import type { App } from '../core/tokens/ports.ts';
import { PROBE_MUST_PASS } from '../core/tokens/token-health.ts';
import type { WeChatClient } from '../wechat/client.ts';
import { type AccessFlags, checkAccess, questionOf } from './check-access.ts';
import { counted } from './counted.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { asLines, complain, jsonLine, print } from './output.ts';

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

/**
 * `lingpai check`: the file, and with `online` each app, or what a caller may do. Exit code 2: the file is wrong; 1: an app is, or
 * the caller may not.
 */
export async function check(
  options: { config: string; online?: boolean; json?: boolean } & AccessFlags,
  io: Io,
): Promise<void> {
  const question = questionOf(options);
  if (question && options.online)
    throw new Failure('--online asks WeChat, and --who the rules; leave out one of the two', 2);
  let config: Config;
  try {
    config = await load(options.config);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (options.json) print(jsonLine({ ok: false, problems: error.problems satisfies readonly ConfigProblem[] }), io);
    throw new Failure(`${counted(error.total, 'problem')}:\n${error.message}`, 2);
  }
  if (!options.json)
    complain(asLines(config.warnings.map((warning) => `warning: ${formatProblem(options.config, warning)}`)), io);
  if (question) return checkAccess(config, question, options, io);
  const findings = options.online ? await ask(config) : [];
  const bad = findings.filter((finding) => !finding.ok).length;
  if (options.json) print(jsonLine({ ok: bad === 0, problems: [], warnings: config.warnings, apps: findings }), io);
  else {
    const told = findings.map(({ app_id, ok, message }) => `${ok ? 'ok  ' : 'FAIL'} ${app_id}: ${message}`);
    print(asLines([`${options.config} is well-formed: ${counted(config.apps.length, 'app')}`, ...told]), io);
  }
  if (bad > 0) throw new Failure(`${bad} of ${findings.length} apps do not work as they are`);
}

async function ask(config: Config): Promise<Finding[]> {
  const { timeoutMs } = config.settings;
  const wechat = createWeChatClient(config);
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

const WELL = 'WeChat knows the app and accepts its secret and this address';

/**
 * A read of the stable endpoint checks secret, address and account, and touches no classic token. The token that it brings is
 * then asked about, as the broker does with its own.
 */
async function askOne(wechat: WeChatClient, app: App, timeoutMs: number): Promise<Finding> {
  const { appId } = app;
  let token: string;
  try {
    token = (await wechat.fetchToken(app, 'stable', AbortSignal.timeout(timeoutMs))).value;
  } catch (error) {
    return failed(appId, error, '');
  }
  try {
    const verdict = await wechat.probe(token, AbortSignal.timeout(timeoutMs));
    if (verdict.accepted) return { app_id: appId, ok: true, message: WELL };
    const { errcode } = verdict;
    const message = `WeChat gives a token and refuses it at once (errcode ${errcode}): another program may have replaced it just now; check again`;
    return { app_id: appId, ok: false, message, reason: 'TOKEN_REFUSED', errcode };
  } catch (error) {
    return failed(appId, error, `${WELL}, but does not say whether a token works; ${PROBE_MUST_PASS}. `);
  }
}

function failed(appId: string, error: unknown, before: string): Finding {
  if (!(error instanceof UpstreamError)) throw error;
  const { reason, message, answer } = error;
  const said = answer && { errcode: answer.errcode, rid: answer.rid };
  return { app_id: appId, ok: false, message: before + message, reason, ...said };
}
