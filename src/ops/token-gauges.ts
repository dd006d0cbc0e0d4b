import type { Status, TokenState } from '../core/tokens/state.ts';

const STATUSES: readonly Status[] = ['PENDING', 'FRESH', 'DEGRADED', 'EXPIRED'];

/**
 * How each app's token is, in Prometheus' text format, line by line, as of `now` (wall-clock milliseconds).
 * It is written straight from the states: with 5,000 apps a library that hashes and escapes 30,000 label sets holds up
 * every caller for a tenth of a second. An app id needs no escaping, it is letters, digits, - and _ only.
 */
export function* tokenGaugeLines(states: readonly TokenState[], now: number): Generator<string> {
  yield* header('lingpai_token_seconds_left', 'Seconds until the current token expires; 0 when there is none.');
  for (const { appId, current } of states) {
    const seconds = current ? Math.max(0, current.expireTime - now) / 1000 : 0;
    yield `lingpai_token_seconds_left{app_id="${appId}"} ${seconds}`;
  }
  yield* header('lingpai_token_generation', 'Generation of the current token, or of the last one.');
  for (const { appId, generation } of states) yield `lingpai_token_generation{app_id="${appId}"} ${generation}`;
  yield* header('lingpai_token_status', '1 for the status that the token has, 0 for the others.');
  for (const { appId, status } of states)
    for (const each of STATUSES)
      yield `lingpai_token_status{app_id="${appId}",status="${each}"} ${each === status ? 1 : 0}`;
}

function header(name: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`];
}
