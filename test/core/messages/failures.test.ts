import { expect, it } from 'vitest';
import type { Reason } from '../../../src/core/kernel/errors.ts';
import type { Channel } from '../../../src/core/messages/message.ts';
import { refusedError } from '../../../src/core/messages/message-errors.ts';

const SUBSCRIBE: Channel = { kind: 'subscribe', miniProgramState: '', lang: '' };
const notice = (miniProgramAppId: string): Channel => ({
  kind: 'subscription_notice',
  miniProgramAppId,
  miniProgramPage: '',
});
const official = (miniProgramAppId: string): Channel => ({
  kind: 'official_account',
  url: 'https://lingpai.test',
  miniProgramAppId,
  miniProgramPage: '',
});

/** The fields that a refusal of WeChat's with these words is said to be about. */
function fields(reason: Reason, errmsg: string, channel: Channel = SUBSCRIBE): string[] {
  const answer = { errcode: 1, errmsg, rid: '' };
  const error = refusedError({ appId: 'wx1', channel }, { kind: 'refused', reason, message: 'words', answer });
  return error.violations.map(({ field }) => field);
}

it.each([
  ['argument invalid! data.thing1.value invalid', 'data["thing1"].value'],
  ['argument invalid! data.character_string12.value is empty hint: [x]', 'data["character_string12"].value'],
  ['argument invalid! data.first.color invalid', 'data["first"].color'],
  ['data.keyword1 invalid', 'data["keyword1"]'],
  ['argument invalid! data is empty', 'data'],
  ['argument invalid! metadata.x.value', 'data'],
  ['argument invalid! data.', 'data'],
  [`argument invalid! data.${'x'.repeat(65)}.value`, 'data'],
  ['', 'data'],
])('the field that 47003 names in "%s" is %s', (errmsg, field) => {
  expect(fields('DATA_INVALID', errmsg)).toEqual([field]);
});

it('a page is a field of its channel', () => {
  expect(fields('PAGE_INVALID', '')).toEqual(['page']);
  expect(fields('PAGE_INVALID', '', official(''))).toEqual(['official_account.url']);
  expect(fields('PAGE_INVALID', '', official('wx2'))).toEqual(['official_account.mini_program_page']);
  expect(fields('PAGE_INVALID', '', notice(''))).toEqual(['page']);
  expect(fields('PAGE_INVALID', '', notice('wx2'))).toEqual(['subscription_notice.mini_program_page']);
});

it('what lies with the user is no field of the request', () => {
  expect(fields('USER_NOT_SUBSCRIBED', 'require subscribe')).toEqual([]);
  expect(fields('USER_OPTED_OUT', '')).toEqual([]);
});
