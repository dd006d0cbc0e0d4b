import { afterEach, beforeEach, expect, it } from 'vitest';
import { type RevokeDeps, revokeToken } from '../../src/commands/revoke-token.ts';
import { AdminService } from '../../src/gen/lingpai/v1/admin_pb.js';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { adminService } from '../../src/rpc/admin-service.ts';
import { tokenService } from '../../src/rpc/token-service.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import { probeError, tokenError } from '../../src/wechat/errcodes.ts';
import { tokenId } from '../../src/wechat/token-id.ts';
import { said } from '../support/command.ts';
import { FakeOperatorApi, NO_OPERATORS, operatorsOf } from '../support/operators.ts';
import { grpcOf, Mounted, STALL_TIMEOUT_MS } from '../support/rpc.ts';
import { SandboxWeChat } from '../support/sandbox-port.ts';
import { SECOND, World } from '../support/world.ts';

const HOP = { count: 0, medianMs: 0, p99Ms: 0, maxMs: 0 };
const APPS = { wxc: 'classic', wxs: 'stable' } as const;
const forever = new AbortController().signal;

let world: World;
let grpc: Listener;
let wechat: SandboxWeChat;
let waits: number[];

beforeEach(async () => {
  world = await World.started({ apps: APPS, settings: { cooldownMs: 20 * SECOND } });
  const { broker, clock } = world;
  const toError = (errcode: number, errmsg: string, call: string) =>
    call === 'probe' ? probeError(errcode, errmsg) : tokenError(errcode, errmsg);
  wechat = new SandboxWeChat({ wechat: world.wechat, clock, toError });
  const probe = (value: string, signal: AbortSignal) => wechat.probe(value, signal);
  const operators = operatorsOf(world, new FakeOperatorApi(), () => {}, probe);
  const admin = adminService({
    ...NO_OPERATORS,
    operators,
    broker,
    clock,
    cluster: () => undefined,
    propagation: () => ({ store: HOP, replica: HOP, stream: HOP }),
    shutChannels: () => [],
    pause: async () => {},
  });
  const tokens = tokenService({ broker, clock, stallTimeoutMs: STALL_TIMEOUT_MS, propagation() {} });
  const mounted = new Mounted(clock, { desc: TokenService, impl: tokens });
  const options = grpcOf(mounted);
  grpc = await startGrpc({ ...options, services: [...options.services, { desc: AdminService, impl: admin }] });
  waits = [];
});
afterEach(async () => {
  await grpc.stop();
  await world.broker.stop();
});

function revoke(appId: string, more: { input?: string; json?: boolean; wait?: RevokeDeps['wait'] } = {}) {
  const wait = async (ms: number) => {
    waits.push(ms);
    await world.clock.advance(ms);
  };
  const { input, json = false } = more;
  const options = {
    addr: grpc.address,
    yes: true,
    timeout: 5,
    json,
    ...(input !== undefined && { leakedTokenStdin: true }),
  };
  return said((io) => revokeToken(appId, options, io, { wait: more.wait ?? wait }), input);
}

const token = (appId: string) => world.state(appId).current?.value ?? '';

it.each(['wxc', 'wxs'])('%s: the token is replaced twice, and WeChat refuses it', async (appId) => {
  const leaked = token(appId);
  const { code, output } = await revoke(appId);
  expect({ code, output }).toMatchObject({ code: 0 });
  expect(output).toContain('replacing the token (1 of 2)');
  expect(output).toContain('waiting 31 s');
  expect(output).toContain(`WeChat refuses the leaked token ${tokenId(leaked)} (errcode 40001): it is dead\n`);
  expect(output).not.toContain(leaked);
  expect(waits).toEqual([31_000]);
  await expect(wechat.probe(leaked, forever)).resolves.toMatchObject({ accepted: false });
  await expect(wechat.probe(token(appId), forever)).resolves.toEqual({ accepted: true });
});

it('one replacement is not enough: a token whose successor came just now still lives', async () => {
  const leaked = token('wxc');
  await world.broker.forceRefresh('wxc', undefined, forever);
  await expect(wechat.probe(leaked, forever)).resolves.toEqual({ accepted: true });
});

it('a cooldown is waited for as the broker says', async () => {
  await world.broker.forceRefresh('wxs', undefined, forever);
  await world.clock.advance(10 * SECOND);
  const leaked = token('wxs');
  const { code, output } = await revoke('wxs', { input: `${leaked}\n` });
  expect([code, output]).toEqual([0, expect.stringContaining('the broker lets the last refresh cool down')]);
  expect(waits[0]).toBeGreaterThan(0);
  expect(waits[0]).toBeLessThanOrEqual(20_000);
  expect(waits).toHaveLength(2);
});

it('a token that WeChat refuses already costs nothing', async () => {
  const before = token('wxc');
  const { code, output } = await revoke('wxc', { input: 'unknown-token', json: true });
  expect(code).toBe(0);
  expect(output).toContain('already: nothing is replaced');
  expect(JSON.parse(output.split('\n').at(-2) ?? '')).toEqual({
    app: 'wxc',
    token: tokenId('unknown-token'),
    accepted: false,
    errcode: 40014,
    replaced: 0,
  });
  expect([token('wxc'), waits]).toEqual([before, []]);
});

it("another app's token outlives it, which is told", async () => {
  const { code, output } = await revoke('wxc', { input: token('wxs') });
  expect(code).toBe(1);
  expect(output).toMatch(
    /still accepts the leaked token \w{12}, though the app's token was replaced 3 times.*reset the AppSecret/,
  );
});

it('a failure half way says what was done', async () => {
  const { code, output } = await revoke('wxc', {
    wait: async (ms) => {
      await world.clock.advance(ms);
      world.break({ kind: 'errcode', errcode: 40125, errmsg: 'invalid appsecret' });
    },
  });
  expect(code).toBe(1);
  expect(output).toMatch(/replaced 1 of 2 times, and the leaked one may live: run this again\n.*SECRET_INVALID/);
});

it('where WeChat does not say what it accepts, the token is replaced and the command fails', async () => {
  const leaked = token('wxc');
  world.break({ kind: 'errcode', errcode: -1, errmsg: 'busy' }, { calls: ['probe'] });
  const { code, output } = await revoke('wxc', { input: leaked });
  expect([code, output]).toEqual([1, expect.stringMatching(/replaced 2 times, and WeChat does not say/)]);
  world.mend();
  await expect(wechat.probe(leaked, forever)).resolves.toMatchObject({ accepted: false });
});

it('nobody is asked where there is no terminal, and standard input cannot be both', async () => {
  const options = { addr: grpc.address, timeout: 5 };
  const deps = { wait: async () => {} };
  const plain = await said((io) => revokeToken('wxc', options, io, deps), 'yes\n');
  expect([plain.code, plain.output]).toEqual([2, expect.stringContaining('give --yes')]);
  const both = await said((io) => revokeToken('wxc', { ...options, leakedTokenStdin: true }, io, deps), 't');
  expect([both.code, both.output]).toEqual([2, expect.stringContaining('give --yes')]);
  const atTerminal = (answer: string) =>
    said((io) => {
      const stdin = Object.assign(io.stdin, { isTTY: true });
      return revokeToken('wxc', options, Object.assign(io, { stdin }), {
        wait: async (ms) => void (await world.clock.advance(ms)),
      });
    }, answer);
  const before = token('wxc');
  const no = await atTerminal('no\n');
  expect([no.code, no.output]).toEqual([1, expect.stringMatching(/Do it\? Type yes.*nothing was replaced/s)]);
  expect(token('wxc')).toBe(before);
  expect((await atTerminal('yes\n')).code).toBe(0);
});
