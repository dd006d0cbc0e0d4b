import { describe, expect, it } from 'vitest';
import { refuseExposure, warnOfExposure } from '../../src/app/exposure.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { createLogger } from '../../src/ops/log.ts';

async function config(settings: object): Promise<Config> {
  const text = JSON.stringify({ ...settings, apps: [{ app_id: 'wx1', secret: 's' }] });
  return await loadConfig('lingpai.yaml', {}, { read: async () => text });
}

const LOCALHOST = { http: { listen: 'localhost:0' } };
const RULES = { access: { rules: [{ who: ['*'], may: ['read'], apps: ['*'] }] } };

describe('what a broker is bound to', () => {
  const refusal = async (settings: object, ...addresses: string[]) => {
    const asked: string[] = [];
    const find = async (host: string) => {
      asked.push(host);
      if (addresses.length === 0) throw new Error('ENOTFOUND');
      return addresses.map((address) => ({ address }));
    };
    const error = await refuseExposure(await config(settings), find).then(
      () => undefined,
      (error) => error,
    );
    return { error, asked };
  };

  it('is where its names lead', async () => {
    for (const addresses of [['10.0.0.7'], ['127.0.0.1', '10.0.0.7'], ['::ffff:10.0.0.7']]) {
      const { error, asked } = await refusal(LOCALHOST, ...addresses);
      expect(asked).toEqual(['localhost']);
      expect(error).toBeInstanceOf(ConfigError);
      expect(error.problems).toEqual([
        {
          path: 'access',
          message: expect.stringMatching(/^is missing, and http.listen is beyond loopback; write who/),
        },
      ]);
    }
    const { error } = await refusal({ ...LOCALHOST, ...RULES }, '10.0.0.7');
    expect(error.problems).toMatchObject([{ path: 'tls' }]);
  });

  it('may be loopback, by a name or an address, or what was said on purpose', async () => {
    expect((await refusal(LOCALHOST, '127.0.0.1', '::1')).error).toBeUndefined();
    expect((await refusal({}, '10.0.0.7')).error).toBeUndefined();
    expect((await refusal({ ...LOCALHOST, access: 'open' }, '10.0.0.7')).error).toBeUndefined();
    expect((await refusal({ ...LOCALHOST, ...RULES, tls: 'off' }, '10.0.0.7')).error).toBeUndefined();
  });

  it('is told of by listening, where a name leads nowhere', async () => {
    expect((await refusal(LOCALHOST)).error).toBeUndefined();
  });
});

it.each<[object, string[]]>([
  [{}, []],
  [{ access: 'open' }, []],
  [{ grpc: { listen: '0.0.0.0:1' }, access: 'open' }, ['0.0.0.0:1 listening beyond loopback without access control']],
  [
    { gateway: { listen: '10.0.0.7:1' }, access: 'open' },
    ['10.0.0.7:1 listening beyond loopback without access control'],
  ],
  [{ grpc: { listen: '[::]:1' }, ...RULES, tls: 'off' }, ['[::]:1 keys and tokens are sent without TLS']],
])('%j is warned of: %j', async (settings, expected) => {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  warnOfExposure(await config(settings), createLogger({ level: 'info', destination }));
  const told = lines.map((line) => JSON.parse(line) as Record<string, string>);
  expect(told.map(({ listen, msg }) => `${listen} ${msg}`)).toEqual(expected);
});
