import { setTimeout } from 'node:timers/promises';
import { AdminService } from '../gen/lingpai/v1/admin_pb.js';
import { ForceRefreshOutcome } from '../gen/lingpai/v1/token_pb.js';
import { tokenId } from '../wechat/token-id.ts';
import { type CallOptions, clientOf, type Refusal, refusalOf, refused, tokenClient } from './client.ts';
import { confirm, requireAnswerable } from './confirm.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { complain, jsonLine, print } from './output.ts';
import { tokenFromInput } from './token-input.ts';

/** What the command is given of the machine. */
export interface RevokeDeps {
  /** Resolves after so many milliseconds. */
  readonly wait: (ms: number) => Promise<unknown>;
}

const MACHINE: RevokeDeps = { wait: (ms) => setTimeout(ms) };

/** WeChat's stable endpoint replaces nothing sooner after the last time (30 s); a second more, since its clock is another. */
const SPACING_MS = 31_000;
/** After so many replacements WeChat honours none of the tokens before them but the last. */
const REPLACEMENTS = 2;
/** Replacements that are tried, in case that WeChat was slow to end the token. */
const MOST_REPLACEMENTS = 3;
/** A refresh that others caused is joined, and is no replacement; so many calls are made in all. */
const MOST_CALLS = 12;

/** What WeChat says of the leaked token. */
type Word = { readonly accepted: boolean; readonly errcode: number } | { readonly unknown: Refusal };

/** `lingpai revoke-token APP`: replaces the app's token until WeChat refuses the one that leaked. */
export async function revokeToken(
  appId: string,
  options: CallOptions & { leakedTokenStdin?: boolean; yes?: boolean; timeout: number },
  io: Io,
  { wait }: RevokeDeps = MACHINE,
): Promise<void> {
  const { leakedTokenStdin = false, yes, json, timeout } = options;
  if (leakedTokenStdin && !yes)
    throw new Failure(
      '--leaked-token-stdin: standard input has the token, and nobody can be asked there: give --yes',
      2,
    );
  requireAnswerable(yes, io);
  const tokens = tokenClient(options, io);
  const admin = clientOf(AdminService, options, io);
  const call = { timeoutMs: timeout * 1000 };
  const say = (text: string) => complain(`${text}\n`, io);

  const leaked = leakedTokenStdin
    ? await tokenFromInput('--leaked-token-stdin', io.stdin)
    : await tokens.get({ appId }, call).then(
        ({ state }) => state?.current?.value ?? '',
        (error) => {
          throw refused(refusalOf(error), options, io);
        },
      );
  const id = tokenId(leaked);
  const probe = async (): Promise<Word> => {
    try {
      return await admin.probeToken({ appId, token: leaked }, call);
    } catch (error) {
      const refusal = refusalOf(error);
      if (!isWeChats(refusal)) throw refused(refusal, options, io);
      say(`WeChat does not say whether it accepts the token: ${refusal.message}`);
      return { unknown: refusal };
    }
  };
  const ended = (errcode: number, replaced: number) => {
    if (json) print(jsonLine({ app: appId, token: id, accepted: false, errcode, replaced }), io);
    else print(`WeChat refuses the leaked token ${id} (errcode ${errcode}): it is dead\n`, io);
  };

  const before = await probe();
  if ('accepted' in before && !before.accepted) {
    say('WeChat refuses the token already: nothing is replaced');
    return ended(before.errcode, 0);
  }
  const question = `This replaces the token of ${appId} twice, half a minute apart, so that WeChat honours ${id} no more. Services that do not watch the broker, or ask it, lose theirs. Do it?`;
  await confirm(question, 'nothing was replaced', yes, io);

  let newest = id;
  let replaced = 0;
  for (let calls = 0; calls < MOST_CALLS; calls++) {
    say(`replacing the token (${replaced + 1} of ${Math.max(REPLACEMENTS, replaced + 1)})`);
    let retryAfterMs = SPACING_MS;
    try {
      const { state, outcome } = await tokens.forceRefresh({ appId }, call);
      const current = state?.current?.id ?? '';
      if (outcome === ForceRefreshOutcome.REFRESHED && current !== newest) {
        newest = current;
        replaced++;
        say(`the token is ${current} now`);
      } else say(`the token is ${current}: a refresh of others was joined, which counts for nothing here`);
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal.reason !== 'COOLDOWN' || refusal.retryAfterMs === null) {
        say(`the token was replaced ${replaced} of ${REPLACEMENTS} times, and the leaked one may live: run this again`);
        throw refused(refusal, options, io);
      }
      say('the broker lets the last refresh cool down');
      retryAfterMs = refusal.retryAfterMs;
    }
    if (replaced >= REPLACEMENTS) {
      const word = await probe();
      if ('unknown' in word)
        throw refused(
          {
            ...word.unknown,
            message: `the token was replaced ${replaced} times, and WeChat does not say whether it refuses the leaked one: ${word.unknown.message}`,
          },
          options,
          io,
        );
      if (!word.accepted) return ended(word.errcode, replaced);
      say('WeChat still accepts the leaked token');
      if (replaced >= MOST_REPLACEMENTS) break;
    }
    say(`waiting ${Math.ceil(retryAfterMs / 1000)} s`);
    await wait(retryAfterMs);
  }
  if (json) print(jsonLine({ app: appId, token: id, accepted: true, replaced }), io);
  throw new Failure(
    `WeChat still accepts the leaked token ${id}, though the app's token was replaced ${replaced} times. It may be another app's, or come from the other endpoint (classic and stable tokens do not end one another): reset the AppSecret in the WeChat console`,
  );
}

/** Whether it lies with WeChat or with the way to it, and not with who calls. */
function isWeChats({ reason }: Refusal): boolean {
  return (
    reason.startsWith('UPSTREAM_') ||
    reason.endsWith('_QUOTA_EXHAUSTED') ||
    reason === 'ACCOUNT_CLOSED' ||
    reason === 'IP_NOT_ALLOWED'
  );
}
