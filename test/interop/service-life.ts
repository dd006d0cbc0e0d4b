import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import type { Report } from '../support/foreign.ts';
import { appId, Lab } from './lab.ts';
import { is } from './scenario.ts';
import type { ServiceExample } from './services.ts';

/** Between a service's calls of WeChat. */
const often = ['--every-ms', '200'];

/** Takes a built service on a library through its life beside a live broker. Rejects with the first thing that is wrong. */
export async function serviceLife(example: ServiceExample, report: Report): Promise<void> {
  await using lab = await Lab.start({ isSecured: true });
  try {
    await steps(lab, example, report);
  } catch (error) {
    throw lab.explain(error);
  }
}

async function steps(lab: Lab, example: ServiceExample, report: Report): Promise<void> {
  const keyFile = lab.file('orders.key');
  await writeFile(keyFile, `${await lab.keys('create', 'orders')}\n`, { mode: 0o600 });
  const service = lab.onLibrary(example, keyFile, '--app', appId, ...often);
  let broker = await lab.broker();
  const first = await lab.state();
  await service.next('the first token', isHeld(first));
  await service.next('a call of WeChat', isCalled(first));
  report('starts before the broker, and calls WeChat with the first token that comes');

  await service.next('a rotation', isHeld(await lab.rotate()));
  broker.signal('SIGTERM');
  await service.next('a goaway', (line) => is('goaway')(line) && typeof line['after_ms'] === 'number');
  assert.equal(await broker.ended(), 0, 'the broker exits with 0 after SIGTERM');
  await service.next('a call while the broker is away', isCalled(await heldBy(service.lines)));
  broker = await lab.broker();
  await service.next('that it came back', is('reconnect'));
  await service.next('a rotation after the restart', isHeld(await lab.rotate()));
  report('goaway, calls without the broker, restart, rotation');

  const dead = await lab.state();
  await lab.killToken();
  await service.next('its report', is('report', { app: appId, outcome: 'REFRESHED' }));
  const replaced = await lab.state();
  assert.ok(replaced.generation > dead.generation, 'a reported dead token is replaced');
  await service.next('a call with the new token', isCalled(replaced));
  assert.ok(!service.lines.some(is('call', { ok: false })), 'each call succeeded');
  report('a dead token is reported and replaced, and no call fails by it');

  // Who may read all apps is told that there is none of this name, others that they may not read it.
  const stranger = lab.onLibrary(example, lab.file('runner.key'), '--app', 'wx00nobody00000000');
  await stranger.next('that the app is unknown', is('error', { during: 'start', reason: 'APP_NOT_FOUND' }));
  assert.equal(await stranger.ended(), 1, 'a service whose app the broker does not know exits with 1');
  const keyless = lab.onLibrary(example, lab.file('no.key'), '--app', appId);
  assert.ok([1, 2].includes(await keyless.ended()), 'a service without its key does not start');
  assert.match(keyless.output, /no\.key/, 'it names the file');
  report('an unknown app and a missing key file end it, with the reason');

  service.signal('SIGTERM');
  await service.next('that it stopped', is('stopped'));
  assert.equal(await service.ended(), example.terminatedCode, 'exit code after SIGTERM');
  for (const child of [service, stranger, keyless])
    assert.ok(!lab.holdsSecret(child.output), `${child.name} printed a token value or a key`);
  report('a clean exit; no token value and no key was printed');
}

/** The state of an app as a line tells it. A generation is a string there, since it may be larger than a number is exact. */
function isHeld({ generation, current }: Awaited<ReturnType<Lab['state']>>) {
  return is('state', { app: appId, state: 'HELD', generation: String(generation), token_id: current?.id });
}

function isCalled(state: { current?: { id: string } | undefined }) {
  return is('call', { ok: true, token_id: state.current?.id });
}

async function heldBy(lines: readonly { readonly [field: string]: unknown }[]) {
  const last = lines.filter(is('state', { state: 'HELD' })).at(-1);
  assert.ok(last, 'a token is held');
  return { current: { id: String(last['token_id']) } };
}
