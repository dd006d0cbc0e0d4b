/** A small service that calls WeChat every few seconds, with the token of one app that a Lingpai broker pushes to it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ConfigurationError, connect, RejectedError } from '@lingpai/client';

/** What the library calls its options, and where this service has them from. */
const VARIABLES = {
  ...{ target: 'LINGPAI_ADDR', apps: '--app', key: 'LINGPAI_KEY', keyFile: 'LINGPAI_KEY_FILE' },
  tls: 'LINGPAI_CA, LINGPAI_CERT',
};

/** Writes one JSON line. It is told of no secret. */
function print(event, fields = {}) {
  const text = (_, value) => (typeof value === 'bigint' ? String(value) : value);
  process.stdout.write(`${JSON.stringify({ event, ...fields }, text)}\n`);
}

function end(code, message) {
  process.stderr.write(`token-service: ${message}\n`);
  process.exit(code);
}

/** Tells of what the library tells. */
function onEvent({ type, app, ...event }) {
  const { state, generation, tokenId, reason } = event;
  if (type === 'state') print('state', { app, state, generation, token_id: tokenId, reason });
  if (type === 'reconnect') print('reconnect');
  if (type === 'goaway') print('goaway', { after_ms: event.afterMs });
  if (type === 'report') print('report', { app, outcome: event.outcome });
  if (type === 'error') {
    const { during, code, message, retryInMs } = event;
    print('error', { during, code, reason, message, retry_in_ms: Math.round(retryInMs) });
  }
}

function settings() {
  const { env } = process;
  const { values: flags } = parseArgs({
    options: { app: { type: 'string' }, 'every-ms': { type: 'string', default: '5000' } },
  });
  const everyMs = Number(flags['every-ms']);
  const weChat = env.WECHAT_URL || 'https://api.weixin.qq.com';
  if (!flags.app) throw new RangeError('--app is required: the id of an app that the broker serves');
  if (!(everyMs >= 1 && everyMs < 2 ** 31)) throw new RangeError('--every-ms: write milliseconds, at least 1');
  if (!/^https?:/.test(weChat) || !URL.canParse(weChat))
    throw new RangeError('WECHAT_URL: write where WeChat is, such as https://api.weixin.qq.com');
  if (env.LINGPAI_KEY && env.LINGPAI_KEY_FILE)
    throw new RangeError('LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them');
  if (!env.LINGPAI_CERT !== !env.LINGPAI_CERT_KEY)
    throw new RangeError('LINGPAI_CERT and LINGPAI_CERT_KEY belong together: set both');
  const tls = { ca: env.LINGPAI_CA, cert: env.LINGPAI_CERT, key: env.LINGPAI_CERT_KEY };
  const options = {
    apps: [flags.app],
    startTimeoutMs: 30_000,
    tls,
    ...(env.LINGPAI_KEY && { key: env.LINGPAI_KEY }),
    ...(env.LINGPAI_KEY_FILE && { keyFile: env.LINGPAI_KEY_FILE }),
    plaintext: env.LINGPAI_PLAINTEXT === '1',
    onEvent,
  };
  return { app: flags.app, everyMs, weChat, target: env.LINGPAI_ADDR || '127.0.0.1:7600', options };
}

/** The answer of WeChat to a call that needs nothing but a token. Throws RejectedError where it refused the token. */
async function callWeChat(weChat, token, signal) {
  const url = new URL('/cgi-bin/get_api_domain_ip', weChat);
  url.searchParams.set('access_token', token);
  const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]) });
  const { errcode, errmsg } = RejectedError.check(await answer.json());
  if (errcode) throw new Error(`WeChat answers errcode ${errcode}, ${errmsg}`);
}

let set;
try {
  set = settings();
} catch (wrong) {
  end(2, wrong.message);
}
const { app, everyMs, weChat, target, options } = set;
const stop = new AbortController();
let isStarting = true;
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    stop.abort();
    if (!isStarting) return;
    print('stopped');
    process.exit(0);
  });

let client;
try {
  client = await connect(target, options);
} catch (error) {
  if (error instanceof ConfigurationError) {
    const { option, words } = error;
    end(2, `${VARIABLES[option] ?? option}: ${words.replace('`plaintext`', 'LINGPAI_PLAINTEXT=1')}`);
  }
  const { kind, code = kind, reason = '', message } = error;
  print('error', { during: 'start', code, reason, message });
  end(1, message);
}
isStarting = false;
const source = client.app(app);
while (!stop.signal.aborted) {
  let token_id = '';
  try {
    await source.call(async (token, signal) => {
      token_id = source.token.id;
      await callWeChat(weChat, token, signal);
    });
    print('call', { ok: true, token_id });
  } catch (error) {
    print('call', { ok: false, token_id, message: error.cause?.message ?? error.message });
  }
  await sleep(everyMs, undefined, { signal: stop.signal }).catch(() => {});
}
await client.close();
print('stopped');
