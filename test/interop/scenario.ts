import assert from 'node:assert/strict';
import type { Child, Line } from '../support/child.ts';
import type { Report } from '../support/foreign.ts';
import { appId, Lab } from './lab.ts';
import type { Language } from './languages.ts';

/** How long the services let a stream be silent, against the broker's heartbeat of 1 s, in milliseconds. */
const silenceMs = 3_000;

const silence = ['--silence-seconds', String(silenceMs / 1000)];

/** From a frozen connection to the newest token: the silence, the first pause (up to 500 ms), and room for a slow machine. */
const recoveryMs = silenceMs + 500 + 2_000;

/** Takes a built example through a service's life beside a live broker. Rejects with the first thing that is wrong. */
export async function scenario(language: Language, report: Report): Promise<void> {
  await using lab = await Lab.start();
  try {
    await steps(lab, language, report);
  } catch (error) {
    throw lab.explain(error);
  }
}

async function steps(lab: Lab, language: Language, report: Report): Promise<void> {
  const service = lab.service(language, '--app', appId, ...silence);
  await service.next('that Get failed', is('error', { during: 'get', code: 'UNAVAILABLE' }));
  let broker = await lab.broker();
  await service.next('that it is connected', is('reconnect', { known_generation: 0 }));
  const first = await lab.state();
  await service.next('the first state', is('state', held(first)));
  report('starts before the broker, gets the first state when it comes');

  for (const nth of ['first', 'second'])
    await service.next(`the ${nth} rotation`, is('state', held(await lab.rotate())));
  report('two rotations');

  const before = await lab.state();
  broker.signal('SIGTERM');
  await service.next('a goaway', (line) => is('goaway')(line) && typeof line.reconnect_after_ms === 'number');
  assert.equal(await broker.ended(), 0, 'the broker exits with 0 after SIGTERM');
  broker = await lab.broker();
  const resumed = is('reconnect', { known_generation: Number(before.generation), sent_state: false });
  await service.next('that it resumed with what it knows', resumed);
  await service.next('a rotation after the restart', is('state', held(await lab.rotate())));
  report('goaway, restart, resumed without an old state');

  const frozenAt = performance.now();
  lab.box.freeze();
  await service.next('a rotation behind the frozen connection', is('state', held(await lab.rotate())));
  const recovered = performance.now() - frozenAt;
  assert.ok(recovered <= recoveryMs, `the newest token came after ${recovered} ms, more than ${recoveryMs}`);
  report(`a connection that a middle box forgot is left: the newest token after ${(recovered / 1000).toFixed(1)} s`);

  const dead = await lab.state();
  await lab.killToken();
  const reporter = lab.service(language, '--app', appId, ...silence, '--report-once');
  await reporter.next('the token from Get', is('get', held(dead)));
  await reporter.next('its report', is('force_refresh', { outcome: 'REFRESHED', rejected_id: dead.current?.id }));
  await reporter.next('that the repeated call worked', is('call', { ok: true }));
  const replaced = await lab.state();
  assert.ok(replaced.generation > dead.generation, 'a reported dead token is replaced');
  await service.next("the reported token's successor", is('state', held(replaced)));
  report('a dead token is reported and replaced, the call is repeated');

  const mistaken = lab.service(language, '--app', appId, ...silence, '--report-once');
  await mistaken.next('its report', is('force_refresh', { outcome: 'STILL_VALID', rejected_id: replaced.current?.id }));
  await mistaken.next('that the call stays refused', is('error', { during: 'call' }));
  assert.equal((await lab.state()).generation, replaced.generation, 'a live token that is reported stays');
  report('a live token is reported and stays');

  const stranger = lab.service(language, '--app', 'wx00nobody00000000');
  await stranger.next('that the app is unknown', is('error', { during: 'get', reason: 'APP_NOT_FOUND' }));
  assert.equal(await stranger.ended(), 1, 'a service whose app the broker does not know exits with 1');
  report('an unknown app is refused by its reason');

  for (const child of [service, reporter, mistaken]) {
    child.signal('SIGTERM');
    await child.next('that it stopped', is('stopped'));
    assert.equal(await child.ended(), language.terminatedCode, 'exit code after SIGTERM');
    checkLines(child);
  }
  for (const child of [service, reporter, mistaken, stranger]) {
    assert.ok(!lab.holdsSecret(child.output), `${child.name} printed a token value`);
  }
  assert.equal(lab.proxy.asked, 0, 'a service asked the HTTP proxy of its environment for the broker');
  report('clean exits, no generation fell, no token value was printed');
}

/** Whether a line tells of an event, with these fields. */
export function is(event: string, fields: Line = {}): (line: Line) => boolean {
  return (line) => line.event === event && Object.entries(fields).every(([name, value]) => line[name] === value);
}

function held(state: { generation: bigint; current?: { id: string } | undefined }): Line {
  return { generation: Number(state.generation), token_id: state.current?.id };
}

/** No line may show an older generation than the one before it, and every state from the first token on has one. */
function checkLines(child: Child): void {
  let last = 0;
  for (const line of child.lines) {
    if (line.event !== 'get' && line.event !== 'state') continue;
    const generation = Number(line.generation);
    if (line.status === 'PENDING' && last === 0) continue; // the broker was quicker to serve than WeChat to answer
    assert.ok(generation >= last, `${child.name}: generation ${generation} came after ${last}`);
    assert.equal(line.app, appId);
    // DEGRADED: the token that WeChat was told to refuse looks to the broker like one that someone else replaced.
    assert.match(String(line.status), /^(FRESH|DEGRADED)$/);
    assert.match(String(line.token_id), /^[0-9a-f]{12}$/);
    last = generation;
  }
  assert.ok(last > 0, `${child.name} held a token`);
}
