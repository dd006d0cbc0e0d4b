import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type DescService } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { VERBS } from '../../src/core/access/verbs.ts';
import { Health } from '../../src/gen/grpc/health/v1/health_pb.js';
import { ServerReflection } from '../../src/gen/grpc/reflection/v1/reflection_pb.js';
import { AdminService } from '../../src/gen/lingpai/v1/admin_pb.js';
import { MessageService } from '../../src/gen/lingpai/v1/message_pb.js';
import { TicketService } from '../../src/gen/lingpai/v1/ticket_pb.js';
import { ForceRefreshRequestSchema, TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import {
  ADMIN_NEEDS,
  HEALTH_NEEDS,
  MESSAGE_NEEDS,
  type Need,
  REFLECTION_NEEDS,
  TICKET_NEEDS,
  TOKEN_NEEDS,
} from '../../src/rpc/method-rights.ts';

const read = (path: string) => readFileSync(join(import.meta.dirname, '../..', path), 'utf8');
const page = read('docs/security.md');

/** The rows of the table below a heading, without its head. */
function table(heading: string): string[][] {
  const [, section = ''] = page.split(`\n## ${heading}\n`);
  const rows = (section.split('\n## ')[0] ?? '').split('\n').filter((line) => line.startsWith('| '));
  return rows.slice(1).map((row) => row.slice(2, -2).split(' | '));
}

/** What each call needs, by the table that the services go by. */
function needs(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const services: [DescService, Readonly<Record<string, unknown>>][] = [
    [TokenService, TOKEN_NEEDS],
    [TicketService, TICKET_NEEDS],
    [MessageService, MESSAGE_NEEDS],
    [AdminService, ADMIN_NEEDS],
    [Health, HEALTH_NEEDS],
    [ServerReflection, REFLECTION_NEEDS],
  ];
  for (const [service, rows] of services)
    for (const method of service.methods)
      for (const need of rowsOf(rows[method.localName] as Need<never>, method.localName)) {
        const calls = found.get(need) ?? new Set();
        found.set(need, calls.add(`${service.name}.${method.name}`));
      }
  return found;
}

function rowsOf(need: Need<never>, name: string): string[] {
  if (need.kind === 'nothing') return ['nothing'];
  if (need.kind === 'rule') return ['any rule'];
  if (need.kind !== 'app') return [need.verb];
  const requests = [create(ForceRefreshRequestSchema)];
  if (name === 'forceRefresh')
    requests.push(create(ForceRefreshRequestSchema, { rejected: { case: 'rejectedToken', value: 'x' } }));
  return requests.map((request) => need.verb(request as never));
}

describe('docs/security.md', () => {
  it('has the verbs with the calls that each covers', () => {
    const shown = table('Who may do what').map(([verb = '', covers = '']) => {
      const calls = [...covers.matchAll(/`([A-Z]\w+\.[A-Z]\w+)`/g)].map(([, call = '']) => call);
      return [verb.replaceAll('`', ''), new Set(calls)] as const;
    });
    expect(new Map(shown)).toEqual(needs());
    for (const verb of VERBS) expect(page).toContain(`\`${verb}\``);
  });

  it('has the starts that are refused', async () => {
    const beyond = "grpc: { listen: '0.0.0.0:7600' }\n";
    const rules = 'access: { keys: k, rules: [{ who: [key:a], may: [read], apps: ["*"] }] }\n';
    const starts = async (text: string) => {
      const yaml = `${text}apps: [{ app_id: wxa, secret: x }]`;
      return loadConfig('x.yaml', {}, { read: async () => yaml }).then(
        () => true,
        () => false,
      );
    };
    const actual = [await starts(''), await starts(beyond), await starts(beyond + rules), await starts(rules)];
    const shown = table('Defaults').map(([, , happens = '']) => !happens.startsWith('it does not start'));
    expect(shown).toEqual(actual);
  });

  it('names metrics that exist, and is one page', () => {
    const reference = read('docs/reference.md');
    for (const [name] of page.matchAll(/lingpai_[a-z]\w+/g)) expect(reference).toContain(`\`${name}`);
    expect(page.split('\n').length).toBeLessThanOrEqual(150);
  });

  it('says how each leaked secret is rotated, and what to do after its leak', () => {
    const rotated = table('Rotating a secret').map(([secret]) => secret);
    const leaked = table('After a leak').map(([secret]) => secret);
    for (const list of [rotated, leaked])
      for (const secret of ['AppSecret', "caller's key", 'seal key', 'signing key', 'certificate'])
        expect(list.join('\n')).toContain(secret);
  });
});
