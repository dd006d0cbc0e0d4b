import { afterAll, beforeAll, expect, it } from 'vitest';
import { refresh } from '../../src/commands/refresh.ts';
import { ForceRefreshOutcome, TokenService, TokenStatus } from '../../src/gen/lingpai/v1/token_pb.js';
import { tokenId } from '../../src/wechat/token-id.ts';
import { fakeBroker, said } from '../support/command.ts';

/** A broker to which every token but the current one is an old one, as to any broker. */
let broker: Awaited<ReturnType<typeof fakeBroker>>;
beforeAll(async () => {
  const token = (value: string) => ({ value, id: tokenId(value) });
  const state = { appId: 'wxa', status: TokenStatus.FRESH, current: token('new'), previous: token('old') };
  const { ALREADY_NEWER, STILL_VALID } = ForceRefreshOutcome;
  broker = await fakeBroker((router) =>
    router.service(TokenService, {
      forceRefresh: ({ rejected }) => ({ state, outcome: rejected.value === 'new' ? STILL_VALID : ALREADY_NEWER }),
    }),
  );
});
afterAll(() => broker[Symbol.asyncDispose]());

function reported(input: string | Buffer, json = false) {
  const options = { addr: broker.addr, json, rejectedTokenStdin: true, timeout: 5 };
  return said((io) => refresh('wxa', options, io), input);
}

it.each([
  ['new\n', /^STILL_VALID: WeChat accepts the token/],
  ['old', /^ALREADY_NEWER: what was refused is older than the current token; use that/],
  ['garbage', /^ALREADY_NEWER, and the value is unknown: it is not the current token/],
])('a report of %j says what is known of it', async (value, words) => {
  const { code, output } = await reported(value);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(words) });
  if (value === 'garbage') expect(output).not.toMatch(/what was refused is older|garbage/);
  const json = JSON.parse((await reported(value, true)).output);
  expect(json.rejected).toBe(value === 'garbage' ? 'unknown' : undefined);
});

it.each<[string, string | Buffer, string]>([
  ['nothing', ' \n', 'standard input is empty'],
  ['bytes that are not UTF-8', Buffer.from([0x61, 0x0a, 0xd6, 0xd0]), 'standard input is not UTF-8 (line 2)'],
  ['more than any token', Buffer.alloc(64 * 1024 + 1, 'a'), 'standard input is longer than 64 KiB'],
])('%s on standard input is wrong usage', async (_, input, words) => {
  const { code, output } = await reported(input);
  expect({ code, output }).toEqual({
    code: 2,
    output: expect.stringContaining(`lingpai: --rejected-token-stdin: ${words}`),
  });
});
