import { text } from 'node:stream/consumers';
import { ForceRefreshOutcome, type ForceRefreshRequest, TokenService } from '../gen/lingpai/v1/token_pb.js';
import { type ClientOptions, calling } from './client.ts';
import { Failure } from './exit.ts';
import { stateJson, stateText } from './show.ts';

const MEANING: Record<ForceRefreshOutcome, string> = {
  [ForceRefreshOutcome.UNSPECIFIED]: 'unknown outcome',
  [ForceRefreshOutcome.REFRESHED]: 'REFRESHED: there is a new token',
  [ForceRefreshOutcome.JOINED]: 'JOINED: a refresh was in flight, and there is a new token',
  [ForceRefreshOutcome.ALREADY_NEWER]: 'ALREADY_NEWER: what was refused is older than the current token; use that',
  [ForceRefreshOutcome.STILL_VALID]: 'STILL_VALID: WeChat accepts the token; look for the cause elsewhere',
};

/** `lingpai refresh APP`: reports a token, or replaces it without asking. */
export async function refresh(
  appId: string,
  options: ClientOptions & { rejectedGeneration?: number; rejectedTokenStdin?: boolean; timeout: number },
): Promise<void> {
  const { json = false, showToken = false, timeout } = options;
  const rejected = await rejectedOf(options);
  const { state, outcome, serverTime } = await calling(TokenService, options, (client) =>
    client.forceRefresh({ appId, rejected }, { timeoutMs: timeout * 1000 }),
  );
  if (!state) return;
  const result = json
    ? `${JSON.stringify({ outcome: ForceRefreshOutcome[outcome], state: stateJson(state, showToken) })}\n`
    : `${MEANING[outcome]}\n${stateText(state, serverTime, showToken)}`;
  process.stdout.write(result);
}

async function rejectedOf(options: {
  rejectedGeneration?: number;
  rejectedTokenStdin?: boolean;
}): Promise<ForceRefreshRequest['rejected']> {
  const { rejectedGeneration, rejectedTokenStdin } = options;
  if (rejectedGeneration !== undefined && rejectedTokenStdin) {
    throw new Failure('give --rejected-generation or --rejected-token-stdin, not both', 2);
  }
  if (rejectedGeneration !== undefined) return { case: 'rejectedGeneration', value: BigInt(rejectedGeneration) };
  if (!rejectedTokenStdin) return { case: undefined };
  const value = (await text(process.stdin)).trim();
  if (value === '') throw new Failure('--rejected-token-stdin: standard input is empty; write the token to it', 2);
  return { case: 'rejectedToken', value };
}
