import { expect, it } from 'vitest';
import { auditJson } from '../../src/ops/audit-json.ts';

const NOW = Date.UTC(2026, 0, 15, 4, 0, 0, 7);
const TIMES = { count: 2, first: NOW - 1000, last: NOW };

it('has the names of the contract, and times in RFC 3339', () => {
  const line = {
    event: 'token.read',
    caller: 'key:a',
    keyId: 'abc',
    peer: '::1',
    appId: 'wx1',
    tokenIds: ['t'],
  } as const;
  expect(auditJson({ ...line, ...TIMES }, NOW)).toBe(
    '{"audit":true,"time":"2026-01-15T04:00:00.007Z","event":"token.read","caller":"key:a","key_id":"abc","peer":"::1",' +
      '"app_id":"wx1","token_ids":["t"],"count":2,"first":"2026-01-15T03:59:59.007Z","last":"2026-01-15T04:00:00.007Z"}\n',
  );
});

it('says that there was no credential', () => {
  expect(JSON.parse(auditJson({ event: 'stream.ended', keyId: null, ...TIMES }, NOW))).toMatchObject({ key_id: null });
});

it.each(['\n', '\u0000', '\u001b[2J', '\u202e', '\u2028', '"', '\\', '\ud800', '令牌', '😀'])(
  'holds %j in printable ASCII, and gives it back',
  (name) => {
    const text = auditJson({ event: 'access.denied', caller: `jwt:x/${name}`, appId: name, ...TIMES }, NOW);
    expect(text).toMatch(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(text)).toMatchObject({ caller: `jwt:x/${name}`, app_id: name });
  },
);

it.each(['x', '"', '\u0000', '令', '😀'])('has at most 4,096 bytes, whatever is made of %j', (char) => {
  const long = char.repeat(100_000);
  const list = Array(16).fill(char.repeat(128));
  const all = {
    caller: long,
    keyId: long,
    peer: long,
    verb: long,
    appId: long,
    appIds: list,
    tokenIds: list,
    outcome: long,
    method: long,
    cause: long,
    rules: Number.MAX_SAFE_INTEGER,
    apps: Number.MAX_SAFE_INTEGER,
    count: Number.MAX_SAFE_INTEGER,
  };
  const text = auditJson({ event: 'token.refreshed', ...all, first: NOW, last: NOW }, NOW);
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4_096);
  const { caller, app_id } = JSON.parse(text);
  expect(caller).toMatch(/\.\.\.$/);
  expect(caller.length).toBeGreaterThan(150);
  expect(app_id).toMatch(/\.\.\.$/);
});
