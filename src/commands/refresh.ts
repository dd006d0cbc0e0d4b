import {
  ForceRefreshOutcome,
  type ForceRefreshRequest,
  TokenService,
  type TokenState,
} from '../gen/lingpai/v1/token_pb.js';
import { tokenId } from '../wechat/token-id.ts';
import { type ClientOptions, calling } from './client.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { jsonLine, print } from './output.ts';
import { stateJson, stateText } from './show.ts';
import { tokenFromInput } from './token-input.ts';

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
  io: Io,
): Promise<void> {
  const { json = false, showToken = false, timeout } = options;
  const rejected = await rejectedOf(options, io.stdin);
  const { state, outcome, serverTime } = await calling(TokenService, options, io, (client) =>
    client.forceRefresh({ appId, rejected }, { timeoutMs: timeout * 1000 }),
  );
  if (!state) return;
  const isUnknown = outcome === ForceRefreshOutcome.ALREADY_NEWER && !isKnown(rejected, state);
  if (json) {
    const named = ForceRefreshOutcome[outcome];
    print(
      jsonLine({ outcome: named, ...(isUnknown && { rejected: 'unknown' }), state: stateJson(state, showToken) }),
      io,
    );
  } else print(`${isUnknown ? UNKNOWN : MEANING[outcome]}\n${stateText(state, serverTime, showToken)}`, io);
}

const UNKNOWN =
  'ALREADY_NEWER, and the value is unknown: it is not the current token, nor the one before it while that has its grace. It may be an older token, one of another app, or none at all; see that you gave the right value, and use the current token';

/** Whether the state shows the token that was reported, by its id: what is neither is a value that nobody here knows. */
function isKnown(rejected: ForceRefreshRequest['rejected'], { current, previous }: TokenState): boolean {
  if (rejected.case !== 'rejectedToken') return true;
  const id = tokenId(rejected.value);
  return id === current?.id || id === previous?.id;
}

async function rejectedOf(
  options: { rejectedGeneration?: number; rejectedTokenStdin?: boolean },
  stdin: AsyncIterable<Buffer>,
): Promise<ForceRefreshRequest['rejected']> {
  const { rejectedGeneration, rejectedTokenStdin } = options;
  if (rejectedGeneration !== undefined && rejectedTokenStdin) {
    throw new Failure('give --rejected-generation or --rejected-token-stdin, not both', 2);
  }
  if (rejectedGeneration !== undefined) return { case: 'rejectedGeneration', value: BigInt(rejectedGeneration) };
  if (!rejectedTokenStdin) return { case: undefined };
  return { case: 'rejectedToken', value: await tokenFromInput('--rejected-token-stdin', stdin) };
}
