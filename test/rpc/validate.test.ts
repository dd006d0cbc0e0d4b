import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import {
  ForceRefreshRequestSchema,
  GetRequestSchema,
  WatchTokenRequestSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { validateForceRefresh, validateGet, validateWatchToken } from '../../src/rpc/validate.ts';

const MAX = BigInt(Number.MAX_SAFE_INTEGER);
const ids = (count: number) => Array.from({ length: count }, (_, index) => `wx${index}`);

/** The fields that the validation complains of. */
function fields(validate: () => void): string[] {
  try {
    validate();
    return [];
  } catch (error) {
    if (!(error instanceof LingpaiError) || error.reason !== 'INVALID_REQUEST') throw error;
    return error.violations.map(({ field }) => field);
  }
}

describe('app_id', () => {
  it.each(['wx0123456789abcdef', 'a', 'A-b_9', 'x'.repeat(64)])('accepts %s', (appId) => {
    expect(fields(() => validateGet(create(GetRequestSchema, { appId })))).toEqual([]);
  });

  it.each(['', 'x'.repeat(65), 'wx 1', 'wx1\n', '令牌', 'a/b'])('refuses %j', (appId) => {
    expect(fields(() => validateGet(create(GetRequestSchema, { appId })))).toEqual(['app_id']);
  });
});

describe('generations', () => {
  it.each([0n, 1n, MAX])('accepts a min_generation of %s', (minGeneration) => {
    expect(fields(() => validateGet(create(GetRequestSchema, { appId: 'wx1', minGeneration })))).toEqual([]);
  });

  it.each([MAX + 1n, 2n ** 64n - 1n])('refuses a min_generation of %s', (minGeneration) => {
    expect(fields(() => validateGet(create(GetRequestSchema, { appId: 'wx1', minGeneration })))).toEqual([
      'min_generation',
    ]);
  });

  it.each([
    [1n, []],
    [MAX, []],
    [0n, ['rejected_generation']],
    [MAX + 1n, ['rejected_generation']],
  ])('a rejected_generation of %s: %j', (value, expected) => {
    const request = create(ForceRefreshRequestSchema, {
      appId: 'wx1',
      rejected: { case: 'rejectedGeneration', value },
    });
    expect(fields(() => validateForceRefresh(request))).toEqual(expected);
  });
});

describe('rejected_token', () => {
  it.each([
    [1, []],
    [2048, []],
    [0, ['rejected_token']],
    [2049, ['rejected_token']],
  ])('of %i characters: %j', (length, expected) => {
    const rejected = { case: 'rejectedToken', value: 'x'.repeat(length) } as const;
    expect(fields(() => validateForceRefresh(create(ForceRefreshRequestSchema, { appId: 'wx1', rejected })))).toEqual(
      expected,
    );
  });

  it('is not repeated in the complaint', () => {
    const rejected = { case: 'rejectedToken', value: 'hush'.repeat(600) } as const;
    expect(() => validateForceRefresh(create(ForceRefreshRequestSchema, { appId: 'wx1', rejected }))).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hush') }),
    );
  });

  it('may be left out', () => {
    expect(fields(() => validateForceRefresh(create(ForceRefreshRequestSchema, { appId: 'wx1' })))).toEqual([]);
  });
});

describe('app_ids', () => {
  it('may be none, the same twice, or 10000', () => {
    for (const appIds of [[], ['wx1', 'wx1'], ids(10_000)])
      expect(fields(() => validateWatchToken(create(WatchTokenRequestSchema, { appIds })))).toEqual([]);
  });

  it('are at most 10000', () => {
    expect(fields(() => validateWatchToken(create(WatchTokenRequestSchema, { appIds: ids(10_001) })))).toEqual([
      'app_ids',
    ]);
  });
});

describe('known generations', () => {
  it('are at most 10000, and are refused before each is looked at', () => {
    const known = (count: number) => Object.fromEntries(ids(count).map((id) => [id, 1n]));
    const request = (count: number) => create(WatchTokenRequestSchema, { knownGenerations: known(count) });
    expect(fields(() => validateWatchToken(request(10_000)))).toEqual([]);
    expect(fields(() => validateWatchToken(request(10_001)))).toEqual(['known_generations']);
  });

  it.each(['', 'not an id', 'x'.repeat(65)])('are of apps that can be: not of "%s"', (id) => {
    const request = create(WatchTokenRequestSchema, { knownGenerations: { [id]: 1n } });
    expect(fields(() => validateWatchToken(request))).toEqual(['known_generations']);
    expect(() => validateWatchToken(request)).toThrow('known_generations has a key that is no app id');
  });
});

describe('several mistakes', () => {
  it('are all named at once', () => {
    const request = create(WatchTokenRequestSchema, {
      appIds: ['wx1', '', 'a b'],
      knownGenerations: { wx1: MAX + 1n, 'not an id': MAX + 1n, wx2: MAX },
    });
    expect(fields(() => validateWatchToken(request))).toEqual([
      'app_ids[1]',
      'app_ids[2]',
      'known_generations["wx1"]',
      'known_generations',
    ]);
  });

  it('stand in the words of the error too, the first of them', () => {
    const request = create(WatchTokenRequestSchema, { appIds: ['', '', '', '', ''] });
    expect(() => validateWatchToken(request)).toThrow(/app_ids\[0\] is required; .*app_ids\[2\] .*\(and 2 more\)/);
  });
});
