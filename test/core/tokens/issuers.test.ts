import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ISSUER_KINDS, ISSUERS, isForced, isMint, MINTS, SECRET_TRIAL } from '../../../src/core/tokens/issuers.ts';

const CORE = join(import.meta.dirname, '../../../src/core');

describe.each(ISSUER_KINDS)('the issuer %s', (kind) => {
  const { renewal, replacement, isReadable } = ISSUERS[kind];

  it('renews by a call that mints just where it cannot be read', () => {
    expect(isMint(renewal)).toBe(!isReadable);
  });

  it('has a forced call just where a renewal does not replace the token', () => {
    expect(isMint(replacement)).toBe(true);
    expect(isForced(replacement)).toBe(isReadable);
  });
});

it('a secret is tried by a call that mints nothing', () => {
  expect(isMint(SECRET_TRIAL)).toBe(false);
  expect(Object.keys(MINTS).filter((call) => call === SECRET_TRIAL)).toEqual([]);
});

it('core asks for what an issuer is like, and never which it is', () => {
  const files = readdirSync(CORE, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const named = files.filter((name) =>
    /[!=]== '(classic|stable|stable_force)'/.test(readFileSync(join(CORE, name), 'utf8')),
  );
  expect(named).toEqual([]);
});
