import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { run } from '../../src/main.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { CapturedIo } from '../support/command.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-check-access-'));
});
afterEach(() => rm(folder, { recursive: true }));

const RULES = {
  keys: 'keys',
  tokens: [{ name: 'sso', issuer: 'i', audience: 'a', jwks: { url: 'https://h' } }],
  rules: [
    { who: ['key:oncall'], may: ['read', 'admin'], apps: ['*'] },
    { who: ['key:*', 'dns:*', 'jwt:*'], may: ['read'], apps: ['wx1'] },
  ],
  blocked: ['key:gone'],
};

async function asked(access: unknown, question: string, ...flags: string[]) {
  await writeFile(join(folder, 'keys'), keyFile(makeKey('oncall'), makeKey('orders')));
  const apps = [{ app_id: 'wx1', secret: 's' }];
  await writeFile(join(folder, 'lingpai.yaml'), JSON.stringify({ ...(access ? { access } : {}), apps }));
  const [who = '', may = '', app = ''] = question.split(' ');
  const io = new CapturedIo(folder);
  const code = await run(['check', '--who', who, '--may', may, '--app', app, ...flags], io);
  return { code, output: io.output };
}

it.each<[string, number, string]>([
  ['key:oncall admin wx1', 0, 'key:oncall may admin wx1: access.rules[0] allows it\n'],
  ['key:oncall read *', 0, 'key:oncall may read every app: access.rules[0] allows it\n'],
  [
    'key:oncall read wx9',
    0,
    'key:oncall may read wx9 (wx9 is no app of this configuration): access.rules[0] allows it\n',
  ],
  ['key:orders read wx1', 0, 'key:orders may read wx1: access.rules[1] allows it\n'],
  ['jwt:sso/me read wx1', 0, 'jwt:sso/me may read wx1: access.rules[1] allows it\n'],
  [
    'key:orders send wx1',
    1,
    'lingpai: key:orders may not send wx1; below access.rules write - { who: ["key:orders"], may: [send], apps: ["wx1"] }\n',
  ],
  [
    'key:orders read *',
    1,
    'lingpai: key:orders may not read every app; below access.rules write - { who: ["key:orders"], may: [read], apps: ["*"] }\n',
  ],
  ['key:gone read wx1', 1, 'lingpai: key:gone is blocked, and may do nothing; take it out of access.blocked\n'],
  [
    'dns:a.b read wx1',
    1,
    'access.rules[1] lets dns:a.b read wx1, but no certificate is accepted; write tls.client_ca\n',
  ],
  [
    'jwt:other/me read wx1',
    1,
    'access.rules[1] lets jwt:other/me read wx1, but its issuer is no item of access.tokens',
  ],
])('%s', async (question, code, said) => {
  const answer = await asked(RULES, question);
  expect(answer.output).toContain(said);
  expect(answer.code).toBe(code);
});

it('a name that has no key yet is told of', async () => {
  const { code, output } = await asked({ ...RULES, keys: 'none' }, 'key:oncall read wx1');
  expect(output).toContain('access.rules[0] allows it; it has no key yet: lingpai keys create oncall\n');
  expect(code).toBe(0);
});

it('what it says to write is taken, and then allows it', async () => {
  const { output } = await asked(RULES, 'key:orders send wx1');
  const [, written = ''] = /write - (\{.*\})/.exec(output) ?? [];
  const { who, may, apps } = { who: ['key:orders'], may: ['send'], apps: ['wx1'] };
  expect(written).toBe(`{ who: ${JSON.stringify(who)}, may: [${may}], apps: ${JSON.stringify(apps)} }`);
  expect((await asked({ ...RULES, rules: [{ who, may, apps }] }, 'key:orders send wx1')).code).toBe(0);
});

it.each([
  [undefined, 'only this machine reaches the listeners'],
  ['open', 'access is open'],
])('where access is %s every caller may do everything', async (access, why) => {
  const { code, output } = await asked(access, 'key:orders send wx1');
  expect([code, output]).toEqual([0, `key:orders may send wx1: ${why}, and every caller may do everything\n`]);
});

it('answers in JSON too, and tells of warnings', async () => {
  const yes = await asked(RULES, 'key:oncall read wx1', '--json');
  expect(JSON.parse(yes.output)).toMatchObject({
    ok: true,
    rule: 0,
    problems: [],
    warnings: [{ path: 'access.rules[1].who[1]' }],
  });
  const no = await asked(RULES, 'key:orders send wx1', '--json');
  expect(JSON.parse(no.output.split('\n')[0] ?? '')).toMatchObject({
    ok: false,
    rule: null,
    message: expect.stringContaining('write - {'),
  });
  expect((await asked(RULES, 'key:oncall read wx1')).output).toMatch(
    /^warning: \/.*lingpai\.yaml:1 access\.rules\[1\]\.who\[1\]: is known by a certificate/,
  );
});

it.each([
  ['orders read wx1', '--who orders: does not say how the caller is known; write key:NAME'],
  ['key:* read wx1', '--who key:*: is no single caller; write one whole name'],
  ['key:orders write wx1', '--may write: write one of read, call, send, refresh, status, admin'],
  ['key:orders read wx*', '--app wx*: write an app id, or "*" for every app'],
])('%s is no question', async (question, said) => {
  const { code, output } = await asked(RULES, question);
  expect(output).toContain(said);
  expect(code).toBe(2);
});

it('is asked whole, and not together with WeChat', async () => {
  const io = new CapturedIo(folder);
  expect(await run(['check', '--who', 'key:orders'], io)).toBe(2);
  expect(io.output).toContain('--who, --may and --app ask one question together');
  const both = await asked(RULES, 'key:oncall read wx1', '--online');
  expect([both.code, both.output]).toEqual([2, expect.stringContaining('leave out one of the two')]);
});
