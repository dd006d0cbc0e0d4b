import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Place } from '../support/lingpai.ts';

let place: Place;
let addr: string[];
beforeAll(async () => {
  place = await Place.make();
  await place.configure();
  addr = ['--addr', (await place.serve()).grpc];
});
afterAll(() => place[Symbol.asyncDispose]());

const permit = (toUser: string, value: string, more: object = {}) =>
  JSON.stringify({ toUser, kind: 'PERMIT_KIND_FORM_ID', value, ...more });

it('deposits a file of more than one call can take, once, and counts', async () => {
  const lines = Array.from({ length: 2_500 }, (_, i) => permit(i % 2 ? 'openid-1' : 'openid-2', `f${i}`));
  lines.push(JSON.stringify({ toUser: 'openid-1', kind: 'PERMIT_KIND_CONSENT', templateId: 't1' }));
  lines.push(permit('openid-1', 'old', { collectTime: '2020-01-01T00:00:00Z' }));
  await writeFile(join(place.folder, 'good.ndjson'), lines.join('\n'));
  const deposit = () => place.run('permits', 'wxa', '--deposit', 'good.ndjson', '--json', ...addr);
  expect(JSON.parse((await deposit()).output)).toMatchObject({ deposited: 2_501, duplicates: 0, expired: 1 });
  expect(JSON.parse((await deposit()).output)).toMatchObject({ deposited: 0, duplicates: 2_501, expired: 1 });
  const all = await place.run('permits', 'wxa', ...addr);
  expect(all).toEqual({
    code: 0,
    output: expect.stringMatching(
      /^FORM_ID {5}2500 messages by 2500 permits\nCONSENT {5}1 message by 1 permit\nexpire on [\d-]{10} {2}2500 messages\n$/,
    ),
  });
  const one = await place.run('permits', 'wxa', '--user', 'openid-2', '--json', ...addr);
  expect(JSON.parse(one.output).counts).toEqual([{ kind: 'PERMIT_KIND_FORM_ID', messages: '1250', permits: '1250' }]);
  expect((await place.run('permits', 'wxb', ...addr)).output).toBe('no permits\n');
});

it('bad lines are named by their numbers, and the others are deposited', async () => {
  const lines = [
    permit('openid-hush', 'a'),
    'x',
    permit('openid-hush', ''),
    '',
    permit('', 'b'),
    permit('openid-hush', 'c'),
  ];
  await writeFile(join(place.folder, 'bad.ndjson'), lines.join('\n'));
  const { code, output } = await place.run('permits', 'wxb', '--deposit', 'bad.ndjson', ...addr);
  expect(code).toBe(1);
  expect(output).toContain('2 deposited, 0 known already, 0 expired');
  expect(output).toMatch(/line 2 is not JSON\n {2}line 3 value is required\n {2}line 5 to_user is required/);
  expect(output).not.toContain('hush');
});

it('says what is wrong', async () => {
  expect(await place.run('permits', 'nope', ...addr)).toMatchObject({
    code: 1,
    output: expect.stringContaining('APP_NOT_FOUND'),
  });
  const both = await place.run('permits', 'wxa', '--user', 'u', '--deposit', 'good.ndjson', ...addr);
  expect(both).toMatchObject({ code: 2, output: expect.stringContaining('--user') });
  const missing = await place.run('permits', 'wxa', '--deposit', 'nowhere', ...addr);
  expect(missing).toMatchObject({
    code: 2,
    output: expect.stringContaining(`--deposit ${join(place.folder, 'nowhere')} cannot be read: it does not exist`),
  });
  const folder = await place.run('permits', 'wxa', '--deposit', '.', ...addr);
  expect(folder).toMatchObject({
    code: 2,
    output: expect.stringContaining(`--deposit ${place.folder} cannot be read: it is a folder`),
  });
  await writeFile(join(place.folder, 'empty.ndjson'), '\n');
  const empty = await place.run('permits', 'wxa', '--deposit', 'empty.ndjson', ...addr);
  expect(empty).toMatchObject({ code: 2, output: expect.stringContaining('empty.ndjson has no permits') });
});
