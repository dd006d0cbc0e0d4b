import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { conditionErrcodes } from '../../src/sandbox/app.ts';
import { callKinds } from '../../src/sandbox/calls.ts';
import { faultKinds } from '../../src/sandbox/fault-body.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { FakeClock } from '../support/clock.ts';
import { seeded } from './support.ts';

const page = readFileSync(new URL('../../docs/sandbox.md', import.meta.url), 'utf8');
const base = 'http://127.0.0.1:7690';

/** Every curl command of the page. */
const commands = [
  ...page.matchAll(/^curl -s (?:-X (\w+) )?'?([^\s']+)'?(?: -H 'content-type: ([^']+)')?(?: -d '(.*)')?$/gm),
].map(([line, method = 'GET', url = '', type = 'application/x-www-form-urlencoded', body]) => {
  return { line, method, path: url.replace(base, ''), type, body };
});

it('every command of docs/sandbox.md does what a reader would expect', async () => {
  expect(commands.length).toBe(page.match(/^curl /gm)?.length);
  const sandbox = await startSandbox({
    listen: { host: '127.0.0.1', port: 0 },
    clock: new FakeClock(),
    random: seeded(),
    apps: [],
    anyApp: true,
  });
  try {
    for (const { line, method, path, type, body } of commands) {
      const headers = { 'content-type': type };
      const response = await fetch(`${sandbox.url}${path}`, { method, ...(body && { headers, body }) });
      const { errcode = 0 } = (await response.json()) as { errcode?: number };
      expect({ line, status: response.status }).toEqual({ line, status: 200 });
      // Only the placeholder for a token is refused.
      expect({ line, errcode }).toEqual({ line, errcode: path.endsWith('=TOKEN') ? 40014 : 0 });
    }
    expect(sandbox.faults.active).toEqual([]);
  } finally {
    await sandbox.close();
  }
});

it('docs/sandbox.md has every fault, call and condition', () => {
  for (const kind of callKinds) expect(page).toContain(`\`${kind}\``);
  for (const condition of Object.keys(conditionErrcodes)) expect(page).toContain(`\`${condition}\``);
  for (const kind of faultKinds) expect(page).toContain(`{"kind": "${kind}"`);
});
