import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { TokenState } from '../../src/gen/lingpai/v1/token_pb.js';
import { Child } from '../support/child.ts';
import type { Report } from '../support/foreign.ts';
import { idOf } from '../support/scripted.ts';
import { appId, Lab } from './lab.ts';
import type { Language } from './languages.ts';
import { scriptedBroker, state } from './plays.ts';
import { is } from './scenario.ts';

const silence = ['--silence-seconds', '3'];

/** The first pause of a service that is refused, in milliseconds: at least, and at most. */
const slowMs = [30_000, 36_000] as const;

/** Until a service that pauses so has the next state: the pause, and room for a slow machine. */
const patienceMs = slowMs[1] + 15_000;

/** Takes a built example through keys and certificates. Rejects with the first thing that is wrong. */
export async function access(language: Language, report: Report): Promise<void> {
  await Promise.all([inClear(language, report), secured(language, report)]);
}

/** Without TLS a key goes to this machine, or where it was told so, and nowhere else. */
async function inClear(language: Language, report: Report): Promise<void> {
  await using broker = await scriptedBroker({ get: state(appId, 1n, 'secret-1') });
  const address = broker.address('grpc');
  const elsewhere = `${language.elsewhere}:${address.split(':')[1]}`;
  const [file, ...rest] = language.start;
  const start = (env: Record<string, string>) =>
    new Child({
      name: `the ${language.name} service`,
      command: [file, ...rest, '--app', appId],
      cwd: tmpdir(),
      env: { ...language.env, LINGPAI_KEY: 'secret-key', ...env },
    });
  const got = is('get', { token_id: idOf('secret-1') });

  const refused = [
    start({ LINGPAI_ADDR: elsewhere }),
    start({ LINGPAI_ADDR: `http://${elsewhere}` }),
    start({ LINGPAI_ADDR: address, LINGPAI_KEY_FILE: 'too' }),
    start({ LINGPAI_ADDR: `https://${address}`, LINGPAI_CERT: 'alone.pem' }),
  ];
  const words = [/unencrypted/, /unencrypted/, /LINGPAI_KEY_FILE are both set/, /LINGPAI_CERT_KEY belong together/];
  for (const [index, child] of refused.entries()) {
    await using each = child;
    assert.equal(
      await each.ended(),
      2,
      'the exit code where a key would go in clear, or settings contradict one another',
    );
    assert.match(each.output, words[index] ?? /$^/);
    assert.ok(!each.output.includes('secret-key'), 'the key was printed');
  }
  assert.deepEqual(broker.journal, [], 'nothing was sent');

  await using told = start({ LINGPAI_ADDR: elsewhere, LINGPAI_PLAINTEXT: '1' });
  await told.next('that it was told so', got);
  await using near = start({ LINGPAI_ADDR: `http://${address}` });
  await near.next('that it stays on the machine', got);
  const shown = idOf('Bearer secret-key');
  assert.deepEqual(
    broker.of('get').map((entry) => entry.shown),
    [shown, shown],
  );
  report('in clear a key goes to loopback, or where it was told so, and nowhere else');
}

async function secured(language: Language, report: Report): Promise<void> {
  await using lab = await Lab.start({ isSecured: true });
  try {
    await steps(lab, language, report);
  } catch (error) {
    throw lab.explain(error);
  }
}

async function steps(lab: Lab, language: Language, report: Report): Promise<void> {
  const keyFile = lab.file('orders.key');
  const ca = { LINGPAI_CA: lab.file('ca.pem') };
  const withFile = { ...ca, LINGPAI_KEY_FILE: keyFile };
  const start = (env: Record<string, string>) => lab.serviceWith(env, language, '--app', appId, ...silence);
  await writeFile(keyFile, `${await lab.keys('create', 'orders')}\n`);
  await lab.broker();

  const service = start(withFile);
  const first = await lab.state();
  await service.next('the token by a key', is('get', held(first)));
  const certified = start({
    ...ca,
    ...{ LINGPAI_CERT: lab.file('client.pem'), LINGPAI_CERT_KEY: lab.file('client.key') },
  });
  await certified.next('the token by a certificate', is('get', held(first)));
  const projected = start({ ...ca, LINGPAI_KEY_FILE: lab.file('token') });
  await projected.next("the token by a service account's", is('get', held(first)));
  report("by TLS with a key out of a file, with a client certificate, and with a service account's token");

  const lost = start({ LINGPAI_CA: lab.file('stranger.pem'), LINGPAI_KEY_FILE: keyFile });
  await lost.next('that the broker is not believed', is('error', { during: 'get', code: 'UNAVAILABLE' }));
  const stranger = start({ ...ca, LINGPAI_KEY: 'lingpai_0000000000000000000000000000000000000000' });
  await stranger.next('that its key is unknown', refused('get', 'CREDENTIALS_INVALID'));
  pausedLong(await stranger.next('that the watch is refused', refused('watch', 'CREDENTIALS_INVALID')));
  const elsewhere = start({ ...ca, LINGPAI_KEY_FILE: lab.file('other-token') });
  await elsewhere.next('that its token is for others', refused('get', 'CREDENTIALS_INVALID'));
  const nameless = start(ca);
  await nameless.next('that it needs a key', refused('get', 'CREDENTIALS_MISSING'));
  const forgetful = start({ ...ca, LINGPAI_KEY_FILE: lab.file('no.key') });
  pausedLong(
    await forgetful.next('that there is no key to show', is('error', { during: 'watch', code: 'UNAUTHENTICATED' })),
  );
  report('a wrong CA, a wrong key, no key and an unreadable one are told apart');

  await service.next('a rotation of the token', is('state', held(await lab.rotate())));
  await writeFile(keyFile, await lab.keys('rotate', 'orders', '--overlap', '0m'));
  const expired = await service.next('that its key has expired', refused('watch', 'CREDENTIALS_EXPIRED'));
  assert.ok(Number(expired.retry_in_ms) < 1_000, `it looks for the new key after ${expired.retry_in_ms} ms`);
  await service.next('that it came back by the new key', is('reconnect', { sent_state: false }));
  await service.next('a rotation behind the new key', is('state', held(await lab.rotate())));
  report('a key that was rotated while it runs is read anew, at once');

  await lab.keys('revoke', 'orders');
  pausedLong(await service.next('that its key was revoked', refused('watch', 'CREDENTIALS_INVALID')));
  await lab.rotate();
  await writeFile(keyFile, await lab.keys('create', 'orders'));
  await writeFile(lab.file('no.key'), await lab.keys('create', 'orders'));
  const last = is('state', held(await lab.rotate()));
  await service.next('the newest token, by the key that it has now', last, patienceMs);
  await forgetful.next('the newest token, by the key that came', last, patienceMs);
  report('a revoked key: it waits long, reads its credential again, and recovers');

  for (const child of [service, certified, projected, lost, stranger, elsewhere, nameless, forgetful]) {
    child.signal('SIGTERM');
    assert.equal(await child.ended(), language.terminatedCode, 'exit code after SIGTERM');
    assert.ok(!lab.holdsSecret(child.output), `${child.name} printed a key or a token value`);
  }
  for (const child of [lost, stranger, elsewhere, nameless])
    assert.ok(!child.lines.some(({ event }) => event === 'get' || event === 'state'), 'a stranger got a token');
}

function refused(during: string, reason: string) {
  return is('error', { during, code: 'UNAUTHENTICATED', reason });
}

function pausedLong({ retry_in_ms }: { readonly retry_in_ms?: unknown }): void {
  const [least, most] = slowMs;
  assert.ok(Number(retry_in_ms) >= least && Number(retry_in_ms) <= most, `it pauses for ${retry_in_ms} ms`);
}

function held({ generation, current }: TokenState) {
  return { generation: Number(generation), token_id: current?.id };
}
