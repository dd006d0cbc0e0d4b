import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AuditLine, MAX_APP_IDS, MAX_TOKEN_IDS } from '../../src/core/access/audit-line.ts';
import { AuditLog } from '../../src/core/access/audit-log.ts';
import type { AuditEvent } from '../../src/core/access/ports.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import { auditJson } from '../../src/ops/audit-json.ts';
import { FakeClock } from '../support/clock.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/audit.md'), 'utf8');
const names = (cell = '') => [...cell.matchAll(/`([a-z_.]+)`/g)].map(([, name = '']) => name);
const tables = page.split('\n\n').filter((part) => part.startsWith('| '));
const rowsOf = (table = '') =>
  table
    .split('\n')
    .slice(2)
    .map((row) => row.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '')));
const events = new Map(rowsOf(tables[0]).map(([event, fields]) => [names(event)[0] ?? '', names(fields)]));
const fields = rowsOf(tables[1]).flatMap(([field]) => names(field));
const common = names(/Every line has [^\n]*/.exec(page)?.[0]);

const call = { caller: LOCAL, peer: '::1' };
const app = { call, appId: 'wx1' };
/** One of each event: a new one does not compile until it stands here, and is not documented until it stands in the table. */
const samples: Readonly<Record<AuditLine['event'], AuditEvent | AuditLine>> = {
  'token.read': { event: 'token.read', ...app, tokenId: 'abc', kind: 'jsapi' },
  'watch.opened': { event: 'watch.opened', call, appIds: [] },
  'watch.closed': { event: 'watch.closed', call, appIds: [] },
  'token.reported': { event: 'token.reported', ...app, tokenId: null, outcome: 'x' },
  'token.refreshed': { event: 'token.refreshed', ...app, tokenId: null, outcome: 'x' },
  'messages.sent': { event: 'messages.sent', ...app, outcome: 'SENT' },
  'quota.read': { event: 'quota.read', ...app, outcome: 'OK' },
  'quota.cleared': { event: 'quota.cleared', ...app, outcome: 'OK' },
  'request.read': { event: 'request.read', ...app, outcome: 'OK' },
  'token.probed': { event: 'token.probed', ...app, outcome: 'OK' },
  'gateway.called': { event: 'gateway.called', ...app, outcome: '0' },
  'access.denied': { event: 'access.denied', ...app, verb: 'read' },
  'authn.failed': { event: 'authn.failed', peer: '::1', method: 'key', cause: 'x', caller: 'key:a', keyId: 'abc' },
  'config.loaded': { event: 'config.loaded', rules: 0, apps: 0 },
  'key.added': { event: 'key.added', caller: 'key:a', keyId: 'abc' },
  'key.revoked': { event: 'key.revoked', caller: 'key:a', keyId: 'abc' },
  'stream.ended': { event: 'stream.ended', call, outcome: 'x' },
  'store.resealed': { event: 'store.resealed', keyId: 'abc', count: 7 },
  'audit.lost': { event: 'audit.lost', count: 7, first: 0, last: 0 },
};

/** The names of the fields of the line that is made of an event. */
function fieldsOf(sample: AuditEvent | AuditLine): string[] {
  const lines: AuditLine[] = [];
  const log = new AuditLog({
    clock: new FakeClock(),
    sink: { write: (line) => void lines.push(line), writable: true },
  });
  if ('first' in sample) lines.push(sample);
  else log.record(sample);
  log.close();
  return lines.flatMap((line) => Object.keys(JSON.parse(auditJson(line, 0))));
}

describe('the table of docs/audit.md', () => {
  it('has every event, and no other', () => {
    expect([...events.keys()].sort()).toEqual(Object.keys(samples).sort());
  });

  it.each(Object.entries(samples))('%s has the fields that it names', (event, sample) => {
    const expected = [...(events.get(event) ?? []), ...common].filter((name) => name !== 'true');
    expect(fieldsOf(sample).sort()).toEqual([...expected].sort());
  });

  it('explains every field that stands in it', () => {
    expect([...new Set([...events.values()].flat())].sort()).toEqual([...fields].sort());
  });
});

it('the bounds are as it says', () => {
  expect([MAX_APP_IDS, MAX_TOKEN_IDS]).toEqual([16, 16]);
  expect(page.match(/[Aa]t most 16/g)).toHaveLength(2);
});
