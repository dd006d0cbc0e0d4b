import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Place } from '../support/lingpai.ts';

it('review needs no broker, and exits with 1 when there is something to object to', async () => {
  await using place = await Place.make();
  const good = await place.run(
    'review',
    '--title',
    '订单支付成功通知',
    '--keyword',
    '订单号=20260131001',
    '--keyword',
    '金额=5元',
  );
  expect(good).toEqual({ code: 0, output: 'nothing to object to\n' });
  const bad = await place.run('review', '--title', '优惠券', '--keyword', '内容');
  expect(bad.code).toBe(1);
  expect(bad.output).toMatch(/^1\.3 .*\n1\.6 .*\n2\.5 .*\n/);
  await writeFile(join(place.folder, 'titles'), '订单支付成功通知\r\n\n退款通知\n');
  const known = await place.run('review', '--title', '订单支付成功通知', '--existing', 'titles', '--json');
  expect(JSON.parse(known.output.split('\n')[0] ?? '').findings).toMatchObject([{ rule: '1.1' }]);
});

it('review takes words of the configuration, and says which file cannot be read', async () => {
  await using place = await Place.make();
  const path = await place.configure({ review: { own_words: ['令牌'] } });
  expect((await place.run('review', '--title', '令牌到期提醒')).code).toBe(0);
  const own = await place.run('review', '--title', '令牌到期提醒', '--config', path);
  expect([own.code, own.output]).toEqual([1, expect.stringMatching(/^1\.4 /)]);
  const missing = await place.run('review', '--title', 'x', '--existing', 'nowhere');
  expect([missing.code, missing.output]).toEqual([
    2,
    expect.stringContaining(`--existing ${join(place.folder, 'nowhere')} cannot be read: it does not exist`),
  ]);
  expect((await place.run('review')).code).toBe(2);
  const empty = await place.run('review', '--title', ' ');
  expect([empty.code, empty.output]).toEqual([2, expect.stringContaining('--title is empty')]);
  const folder = await place.run('review', '--title', 'x', '--existing', '.');
  expect([folder.code, folder.output]).toEqual([
    2,
    expect.stringContaining(`--existing ${place.folder} cannot be read: it is a folder`),
  ]);
});
