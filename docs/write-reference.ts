// Writes docs/reference.md anew from the configuration's schema, error.proto and the metrics. `npm run generate` runs it.
import { readFileSync, writeFileSync } from 'node:fs';
import { Code } from '@connectrpc/connect';
import { configJsonSchema } from '../src/config/schema-json.ts';
import { createMetrics } from '../src/ops/metrics.ts';
import { CODES } from '../src/rpc/errors.ts';

/** A part of a JSON Schema, as far as it is read here. */
interface Part {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Part>>;
  readonly items?: Part;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Part[];
}

const REPAIRS: readonly [codes: string, advice: string][] = [
  ['INVALID_ARGUMENT', 'mend the request: `BadRequest` names each field and what is wrong with it'],
  ['NOT_FOUND', 'configure the app, or name another'],
  [
    'FAILED_PRECONDITION',
    'somebody must act first; the message says who and how, and `check --online` says it for an app',
  ],
  ['RESOURCE_EXHAUSTED', 'wait as `RetryInfo` says, and go on with the token that you hold'],
  ['UNAVAILABLE', 'repeat the call; the broker keeps trying too'],
  ['DEADLINE_EXCEEDED', 'ask again, or allow more time'],
  ['UNKNOWN', 'a message may have been sent: with `RetryInfo`, repeat it with its key to find out'],
  ['INTERNAL', 'a fault of the broker: its log has the cause'],
];

/** Text within a table's cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ').trim();
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

/** Every setting below a part: its path, its default, and what it means. */
function settings(part: Part, path = ''): string[][] {
  const maps = part.anyOf?.filter(({ properties }) => properties) ?? [];
  const [map] = maps;
  // What is a word or a map of settings: both. A map that says where a text stands is told of by its description.
  if (map && maps.length === 1)
    return [...settings({ description: part.description ?? '' }, path), ...settings(map, path)];
  const under = part.items?.properties ?? part.properties;
  if (!under)
    return [
      [`\`${path}\``, part.default === undefined ? '' : `\`${JSON.stringify(part.default)}\``, part.description ?? ''],
    ];
  const prefix = path === '' ? '' : `${path}${part.items ? '[]' : ''}.`;
  return Object.entries(under).flatMap(([name, child]) => settings(child, prefix + name));
}

/** The comment above each value of an enum in a proto file. */
function comments(proto: string, prefix: string): Map<string, string> {
  const found = new Map<string, string>();
  const values = new RegExp(`((?:^ *// .*\\n)+) *${prefix}(\\w+) = \\d+;`, 'gm');
  for (const [, comment = '', name = ''] of proto.matchAll(values))
    found.set(name, comment.replaceAll(/^ *\/\/ ?/gm, ' '));
  return found;
}

function errors(): string {
  const meanings = comments(
    readFileSync(new URL('../proto/lingpai/v1/error.proto', import.meta.url), 'utf8'),
    'ERROR_REASON_',
  );
  return table(
    ['reason', 'status', 'meaning'],
    Object.entries(CODES).map(([reason, code]) => {
      const status = (Code[code] ?? '').replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
      const meaning = (meanings.get(reason) ?? '').trim().replace(/^[A-Z_]+\. /, '');
      return [`\`${reason}\``, status, meaning];
    }),
  );
}

async function metrics(): Promise<string> {
  const cluster = () => ({
    replica: '',
    storeAvailable: true,
    storeTrouble: '',
    storeAgeMs: 0,
    replicas: [],
    apps: [],
    lostSets: 0,
  });
  const nothing = { states: () => [], watchers: () => 0, cluster, now: () => 0 };
  const text = new TextDecoder().decode(await createMetrics(nothing).text());
  const types = new Map(
    [...text.matchAll(/^# TYPE (lingpai_\w+) (\w+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
  const rows = [...text.matchAll(/^# HELP (lingpai_\w+) (.*)$/gm)].map(([, name = '', help = '']) => [
    `\`${name}\``,
    types.get(name) ?? '',
    help,
  ]);
  return table(
    ['metric', 'kind', 'meaning'],
    rows.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
}

/** The whole page. */
export async function reference(): Promise<string> {
  return `# Reference

This page is written by \`npm run generate\`. Do not edit it.

## Configuration

One YAML file; [examples/lingpai.yaml](../examples/lingpai.yaml) shows it whole, and [lingpai.schema.json](../lingpai.schema.json) gives editors
completion. Only \`apps\` must be written. Durations are a whole number and a unit: \`500ms\`, \`5s\`, \`15m\`, \`1h\`. Relative paths start at the
folder of the file.

${table(['key', 'default', 'meaning'], settings(JSON.parse(configJsonSchema())))}

## Errors

A gRPC status with one \`google.rpc.ErrorInfo\`: \`domain\` is \`lingpai\`, \`reason\` is one of those below, \`metadata\` has \`app_id\`, and WeChat's
\`errcode\`, \`errmsg\` and \`rid\` where it answered. \`RetryInfo\` stands wherever waiting helps, \`BadRequest\` on INVALID_ARGUMENT.

${table(
  ['status', 'what to do'],
  REPAIRS.map(([codes, advice]) => [codes, advice]),
)}

${errors()}

## Metrics

\`/metrics\` on the HTTP port, for Prometheus, with those of the Node.js process beside them. No label holds a token, a secret or an openid.

${await metrics()}
`;
}

if (import.meta.main) writeFileSync(new URL('reference.md', import.meta.url), await reference());
