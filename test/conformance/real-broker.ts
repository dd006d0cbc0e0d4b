import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { appId, Lab } from '../interop/lab.ts';
import type { Scenario } from './scenarios/scenario.ts';
import { fails, type Stage, slackMs, timing } from './stage.ts';

/** A short set beside the real broker, by TLS with a key and with a client certificate. */
export const realBroker: Scenario = {
  number: 28,
  name: 'beside the real broker: TLS, keys, certificates',
  async play(stage) {
    await using lab = await Lab.start({ isSecured: true });
    try {
      await steps(stage, lab);
    } catch (error) {
      throw lab.explain(error);
    }
    assert.ok(!lab.holdsSecret(stage.driver.child.output), 'the driver printed a token value or a key');
  },
};

async function steps(stage: Stage, lab: Lab): Promise<void> {
  const keyFile = lab.file('orders.key');
  const ca = { ca: lab.file('ca.pem') };
  const target = `https://${lab.addresses[stage.hello.transport === 'grpc' ? 'grpc' : 'http']}`;
  const create = (client: string, options: object) =>
    stage.driver.ask('create', {
      client,
      options: {
        target,
        apps: [appId],
        timing: { ...timing, silenceMs: 3_000, connectMs: 3_000, callMs: 10_000 },
        ...options,
      },
    });
  const held = async (
    client: string,
    state: { generation: bigint; current?: { id: string } | undefined },
    timeoutMs = slackMs,
  ) => {
    const { tokenId } = await stage.driver.ask('wait', {
      client,
      app: appId,
      generation: String(state.generation),
      timeoutMs,
    });
    assert.equal(tokenId, state.current?.id, 'the token of the broker');
  };
  await writeFile(keyFile, `${await lab.keys('create', 'orders')}\n`, { mode: 0o600 });
  await lab.broker();
  const first = await lab.state();

  await create('key', { tls: ca, keyFile });
  await held('key', first);
  await create('certificate', { tls: { ...ca, cert: lab.file('client.pem'), key: lab.file('client.key') } });
  await held('certificate', first);
  const rotated = await lab.rotate();
  for (const client of ['key', 'certificate']) await held(client, rotated);

  const other = { apps: ['wx00nobody00000000'], tls: ca };
  const denied = await fails(create('denied', { ...other, keyFile, startTimeoutMs: 2_000 }), 'StartTimeout');
  assert.match(denied.message, /ACCESS_DENIED/, 'it says why there is no token');
  await fails(create('keyless', { tls: ca }), 'Rpc', { code: 'UNAUTHENTICATED', reason: 'CREDENTIALS_MISSING' });
  await fails(
    create('stranger', { tls: { ca: lab.file('stranger.pem') }, keyFile, startTimeoutMs: 2_000 }),
    'StartTimeout',
  );
  await fails(create('clear', { target: 'http://192.0.2.1:7600', keyFile, startTimeoutMs: 2_000 }), 'Configuration');

  await stage.driver.ask('call', { client: 'key', app: appId, script: ['ok'] });
  const valid = { client: 'key', app: appId, script: ['40001', 'ok'] };
  await fails(stage.driver.ask('call', valid), 'Rejected', { attempts: 1 }); // WeChat accepts the token: STILL_VALID
  await lab.killToken();
  assert.equal((await stage.driver.ask('call', valid)).attempts, 2, 'a dead token is replaced');
  const replaced = await lab.state();
  for (const client of ['key', 'certificate']) await held(client, replaced);

  await lab.keys('revoke', 'orders');
  const last = await lab.rotate();
  await held('certificate', last);
  await writeFile(keyFile, `${await lab.keys('create', 'orders')}\n`);
  const newest = await lab.rotate();
  await held('key', newest, 20_000);
  for (const client of ['key', 'certificate']) await stage.driver.ask('close', { client });
}
