import { describe, expect, test } from 'vitest';
import { SealedError, StoreError } from '../../src/store/errors.ts';
import { Keyring, keyOf } from '../../src/store/keyring.ts';
import { newKeyText, parseKey } from '../../src/store/seal-key.ts';
import { TOKEN } from './support.ts';

const [K1, K2] = [newKeyText(), newKeyText()];
const idOf = (text: string) => Keyring.parse([text]).sealing;
const TEXT = JSON.stringify({ value: TOKEN });

/** The SealedError with which a record does not open. */
function refusal(keyring: Keyring, stored: string, appId = 'wx1'): SealedError {
  try {
    keyring.open(appId, stored, 'the store');
  } catch (error) {
    if (error instanceof SealedError) return error;
    throw error;
  }
  return expect.fail('it opened');
}

describe('a key', () => {
  test('is one line that says what it is, with an id that does not show it', () => {
    expect(K1).toMatch(/^lpseal1_[A-Za-z0-9_-]{48}$/);
    expect(K1).not.toBe(K2);
    expect(parseKey(`${K1}\n`)).toEqual(parseKey(K1));
    expect(idOf(K1)).toMatch(/^[0-9a-f]{12}$/);
    expect(Buffer.from(K1.slice(8), 'base64url').toString('hex')).not.toContain(idOf(K1));
  });

  test('whose text was changed by any character, or cut, is refused and not shown', () => {
    for (let i = 'lpseal1_'.length; i < K1.length; i++) {
      const other = K1[i] === 'A' ? 'B' : 'A';
      for (const text of [K1.slice(0, i) + other + K1.slice(i + 1), K1.slice(0, i)])
        expect(parseKey(text)).toEqual({ error: expect.stringMatching(/checksum is wrong/) });
    }
    expect(parseKey(`${K1}A`)).toEqual({ error: expect.stringMatching(/checksum is wrong/) });
  });

  test.each([
    ['', /is empty; make one with "lingpai store key"/],
    ['hunter2', /does not begin with "lpseal1_"/],
    [`${K1}\n${K2}`, /more than one line/],
    [K1.toUpperCase(), /does not begin/],
    [`lpseal1_${'='.repeat(48)}`, /checksum is wrong/],
  ])('as %j is refused in words', (text, words) => {
    const parse = () => Keyring.parse(['plain', text]);
    expect(parse).toThrow(StoreError);
    expect(parse).toThrow(words);
    expect(parse).toThrow(/^store\.seal\[1\]: /);
    for (const part of text.split('\n')) if (part.length > 7) expect(parse).not.toThrow(part);
  });

  test('stands in a list once', () => {
    expect(() => Keyring.parse([K1, K2, K1])).toThrow(/^store\.seal\[2\]: [0-9a-f]{12} is in the list already/);
    expect(() => Keyring.parse(['plain', 'plain'])).toThrow(/plain is in the list already/);
  });
});

describe('a keyring', () => {
  test('without keys leaves records as they are', () => {
    for (const keyring of [Keyring.plain, Keyring.parse([]), Keyring.parse(['plain']), Keyring.parse(['plain', K1])]) {
      expect(keyring.seal('wx1', TEXT)).toBe(TEXT);
      expect(keyring.open('wx1', TEXT, 'the store')).toBe(TEXT);
    }
  });

  test('seals with the first of its keys, and opens with any', () => {
    const sealed = Keyring.parse([K1]).seal('wx1', TEXT);
    expect(sealed).toMatch(new RegExp(`^lp1:${idOf(K1)}:[A-Za-z0-9_-]+$`));
    expect(keyOf(sealed)).toBe(idOf(K1));
    for (const texts of [[K1], [K2, K1], ['plain', K2, K1]])
      expect(Keyring.parse(texts).open('wx1', sealed, 'the store')).toBe(TEXT);
    expect(Keyring.parse([K2, K1]).held).toEqual([idOf(K2), idOf(K1)]);
    expect(keyOf(Keyring.parse([K2, K1, 'plain']).seal('wx1', TEXT))).toBe(idOf(K2));
  });

  test('never seals a record twice alike', () => {
    const keyring = Keyring.parse([K1]);
    expect(keyring.seal('wx1', TEXT)).not.toBe(keyring.seal('wx1', TEXT));
  });

  test('opens no record of which any bit was changed, or that was cut', () => {
    const keyring = Keyring.parse([K1, K2]);
    const sealed = keyring.seal('wx1', TEXT);
    const bytes = Buffer.from(sealed);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      refusal(keyring, changed.toString('latin1'));
    }
    for (let length = 0; length < sealed.length; length++) refusal(keyring, sealed.slice(0, length));
    refusal(keyring, `${sealed}A`);
    refusal(keyring, `${sealed}\n`);
  });

  test('opens a record of its app alone', () => {
    const keyring = Keyring.parse([K1]);
    const error = refusal(keyring, keyring.seal('wx1', TEXT), 'wx2');
    expect(error.isChanged).toBe(true);
    expect(error.message).toMatch(
      /app wx2 cannot be opened: is sealed by key [0-9a-f]{12}, and changed since, or another app's/,
    );
  });

  test('says which keys are wanted and held, and the ways out', () => {
    const { message, wanted } = refusal(Keyring.parse([K2, 'plain']), Keyring.parse([K1]).seal('wx1', TEXT));
    expect(wanted).toBe(idOf(K1));
    expect(message).toBe(
      `the store: the record of app wx1 cannot be opened: is sealed by key ${idOf(K1)}. Held: ${idOf(K2)}, plain. Nothing was changed or minted. To go on, add the file of that key to store.seal, or, if it is lost, run "lingpai store forget --sealed --config FILE": it removes what no held key opens, which costs one mint for each classic app.`,
    );
    expect(message).not.toContain(K1.slice(8, 20));
  });

  test('takes no plain record where plain is not in the list: whoever can write the store could plant one', () => {
    const { message } = refusal(Keyring.parse([K1]), TEXT);
    expect(message).toMatch(/is not sealed, and plain is not in store\.seal.*put plain last into store\.seal/);
    expect(message).not.toContain('forget');
    expect(message).not.toContain(TOKEN);
  });

  test.each(['lp2:abc', 'lp1:', 'lp1:0123456789ab', `lp1:${'x'.repeat(500)}:AAAA`, 'lp1:0123456789ab:'])(
    'takes %j for sealed in a way that it does not know, not for a plain record',
    (stored) => {
      const { message } = refusal(Keyring.plain, stored);
      expect(message).toMatch(/sealed by key unknown/);
    },
  );
});
