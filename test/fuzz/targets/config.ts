import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../../../src/config/problem.ts';
import { load } from '../../config/fixture.ts';
import type { Draw } from '../draw.ts';
import type { Target } from '../target.ts';

/** As WeChat's are: a key that looks like a setting's name is repeated, and this does not. */
const SECRET = '0123456789abcdef0123456789abcdef';
const EXAMPLE = readFileSync(join(import.meta.dirname, '../../../examples/lingpai.yaml'), 'utf8');
const SMALL = `grpc: { listen: "127.0.0.1:0" }\nstore: { url: "memory:" }\napps:\n  - { app_id: wxa, secret: ${SECRET} }\n`;
/** With all that is said of access, which the example has as comments. */
const ACCESS = EXAMPLE.replaceAll(/^# (tls: .*|access:| {2}.*)$/gm, '$1');
/** What YAML is known for. */
const TRAPS = [
  'a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: &d [*c, *c, *c, *c]\ne: [*d, *d, *d, *d]\n',
  'a: &a { b: *a }\n',
  '? [a, b]\n: c\n',
  '<<: { apps: [] }\n',
  '!!binary x: y\n',
  '!!js/function x: y\n',
  '%YAML 9.9\n---\n',
  '--- \n---\n',
  '"\\u0000": x\n',
  'apps: [\n',
  '\tapps: x\n',
  '__proto__: { apps: [] }\n',
  'constructor: { prototype: { apps: [] } }\n',
];

function structured(draw: Draw): string {
  const document: Record<string, unknown> = {
    grpc: { listen: '127.0.0.1:0' },
    store: { url: 'memory:' },
    apps: draw.some(4, () => ({
      app_id: draw.oneIn(3) ? draw.json(1) : 'wxa',
      secret: draw.oneIn(3) ? draw.json(2) : SECRET,
    })),
  };
  const sections = [
    'grpc',
    'http',
    'store',
    'upstream',
    'refresh',
    'watch',
    'messages',
    'review',
    'cluster',
    'apps',
    'access',
    'tls',
    'audit',
  ];
  const keys = ['listen', 'url', 'timeout', 'base_url', 'proxy', 'rate', 'heartbeat', 'own_words', 'lease', 'hosts'];
  keys.push('rules', 'tokens', 'blocked', 'keys', 'cert', 'client_ca', 'seal', 'to');
  for (let i = draw.below(4); i > 0; i--) {
    const key = draw.oneIn(3) ? draw.text(6) : draw.pick(sections);
    document[key] = draw.oneIn(2) ? draw.json(3) : { [draw.oneIn(3) ? draw.text(4) : draw.pick(keys)]: draw.json(2) };
  }
  return JSON.stringify(document, null, draw.below(3));
}

function text(draw: Draw): string {
  switch (draw.below(6)) {
    case 0:
      return draw.mutated(Buffer.from(draw.oneIn(2) ? EXAMPLE : ACCESS)).toString();
    case 1:
      return draw.mutated(Buffer.from(SMALL)).toString();
    case 2:
      return `${draw.pick(TRAPS)}${draw.pick([SMALL, draw.text(40)])}`;
    case 3:
      return draw.text(200);
    default:
      return draw.oneIn(2) ? structured(draw) : draw.mutated(Buffer.from(structured(draw))).toString();
  }
}

/** The configuration file: what comes of it is a Config or a ConfigError, each of whose problems says something and no secret. */
export const config: Target = {
  name: 'config',
  share: 60,
  async open() {
    return {
      async take(draw) {
        try {
          await load(text(draw));
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          if (error.problems.length === 0) throw new Error('it is refused without a problem');
          if (error.problems.some(({ message }) => message === '')) throw new Error('a problem says nothing');
          if (error.message.includes(SECRET)) throw new Error('an error shows a secret');
        }
      },
      [Symbol.asyncDispose]: async () => {},
    };
  },
};
