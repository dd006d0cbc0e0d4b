import { describe, expect, it } from 'vitest';
import { isBehind, restored } from '../../../src/core/cluster/restore.ts';
import { sharedOf } from '../../../src/core/cluster/shared-part.ts';
import { holding, intent, recordWith } from '../../support/shared-records.ts';

describe('a store that went back', () => {
  it('is behind by its generation, and with the same generation by its epoch', () => {
    expect(isBehind(recordWith(6, 9), recordWith(7, 3))).toBe(true);
    expect(isBehind(recordWith(7, 2), recordWith(7, 3))).toBe(true);
    expect(isBehind(recordWith(7, 3), recordWith(7, 3))).toBe(false);
    expect(isBehind(recordWith(8, 1), recordWith(7, 3))).toBe(false);
  });

  it('gets back the mints that are known here, and keeps those that it names, which nobody waits for', () => {
    const { epoch, intents } = sharedOf(restored(recordWith(7, 5, intent(5, 'r1')), recordWith(6, 2, intent(2, 'r2'))));
    expect(epoch).toBe(5);
    expect(intents).toEqual([intent(5, 'r1'), intent(2, 'r2', true)]);
  });

  it('owes a confirming mint where its token was made after ours, by a clock that was set back', () => {
    const ours = holding(recordWith(7, 5), 'a', 1_000);
    expect(sharedOf(restored(ours, holding(recordWith(6, 1), 'b', 500))).pendingConfirmation).toBeNull();
    expect(sharedOf(restored(ours, holding(recordWith(6, 1), 'b', 2_000))).pendingConfirmation).toMatchObject({
      epoch: 5,
    });
    expect(restored(ours, holding(recordWith(6, 1), 'b', 2_000)).current?.value).toBe('a');
  });
});
