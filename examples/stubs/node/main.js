/** A small service that always holds the newest access_token of one WeChat app. */
import { parseArgs } from 'node:util';
import { Broker } from './connect.js';
import { explain } from './failure.js';
import { TokenRejected, TokenSource } from './token-source.js';

const { env } = process;
const { values: flags } = parseArgs({
  options: {
    app: { type: 'string' },
    addr: { type: 'string', default: env.LINGPAI_ADDR || '127.0.0.1:7600' },
    'silence-seconds': { type: 'string', default: '25' },
    'report-once': { type: 'boolean', default: false },
  },
});

/** Writes one JSON line. It is told of no secret. */
function printEvent(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function end(code, message) {
  process.stderr.write(`token-service: ${message}\n`);
  process.exit(code);
}

function broker() {
  try {
    return new Broker(flags.addr, env);
  } catch (wrong) {
    return end(2, wrong.message);
  }
}

/**
 * Makes three business calls with a token that is refused: two hear of it at once, one when they are over. A real one asks WeChat
 * with the token and throws TokenRejected for errcode 40001, 40014 or 42001.
 */
async function demonstrateReport(source) {
  const call = async (answer) => {
    let isRefused = false;
    try {
      await source.call(async () => {
        if (isRefused) return;
        isRefused = true;
        await answer;
        throw new TokenRejected('WeChat refused the access_token');
      });
      printEvent('call', { ok: true });
    } catch (error) {
      printEvent('error', explain(error).fields('call'));
    }
  };
  const soon = Promise.resolve();
  const quick = Promise.all([call(soon), call(soon)]);
  await Promise.all([quick, call(quick)]);
}

if (!flags.app) end(2, '--app is required: the id of an app that the broker serves');
const at = broker();
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
const source = new TokenSource(() => at.dial(), flags.app, Number(flags['silence-seconds']) * 1000, printEvent);
try {
  await source.load();
} catch (error) {
  const failure = explain(error);
  printEvent('error', failure.fields('get'));
  if (failure.isPermanent) end(1, failure.message);
  // Anything else passes: the watch brings the token when there is one.
}
const watching = source.run(stop.signal);
if (flags['report-once']) await demonstrateReport(source);
await watching;
printEvent('stopped');
