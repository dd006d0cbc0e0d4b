import { describe, expect, it } from 'vitest';
import { conclude, intend } from '../../../src/core/cluster/intents.ts';
import { sharedOf } from '../../../src/core/cluster/shared-part.ts';
import { WALL } from '../../support/records.ts';
import { intent, recordWith } from '../../support/shared-records.ts';
import { MINUTE, SECOND } from '../../support/world.ts';

const OVERLAP = 5 * MINUTE;
const at = { time: WALL, overlapMs: OVERLAP };

describe('an intent of our own that is there again', () => {
  it('may have been carried out: it is taken for lost', () => {
    const { record } = intend(recordWith(7, 3, intent(3, 'r1'), intent(2, 'r2')), 'r1', WALL);
    expect(sharedOf(record).intents).toEqual([
      intent(3, 'r1', true),
      intent(2, 'r2'),
      { epoch: 4, replica: 'r1', time: WALL, orphaned: false },
    ]);
  });
});

describe('a mint that is given up when others have settled it', () => {
  it('may arrive from now on: it is lost now, and a confirming mint is owed before its overlap ends', () => {
    const { epoch, intents, pendingConfirmation } = sharedOf(
      conclude(recordWith(7, 5), intent(3, 'r1'), 'classic', 'lost', at),
    );
    expect(intents).toEqual([{ ...intent(3, 'r1', true), time: WALL }]);
    expect(epoch).toBe(6); // so that no mint in progress is taken for alone
    expect(pendingConfirmation?.epoch).toBe(6);
    expect(pendingConfirmation?.time).toBeGreaterThan(WALL);
    expect(pendingConfirmation?.time).toBeLessThan(WALL + OVERLAP - 30 * SECOND);
  });

  it.each(['undone', 'outlived'] as const)('leaves nothing where it is known to be %s', (how) => {
    const record = recordWith(7, 5);
    expect(conclude(record, intent(3, 'r1'), 'classic', how, at)).toBe(record);
  });

  it('is asked about once where the store was emptied meanwhile, and counts from the beginning', () => {
    const { epoch, pendingConfirmation } = sharedOf(
      conclude(recordWith(7, 5), intent(60, 'r1'), 'classic', 'lost', at),
    );
    expect([epoch, pendingConfirmation?.epoch]).toEqual([61, 61]);
  });

  it('is recorded once', () => {
    const once = conclude(recordWith(7, 5), intent(3, 'r1'), 'classic', 'lost', at);
    expect(sharedOf(conclude(once, intent(3, 'r1'), 'classic', 'lost', at)).intents).toHaveLength(1);
  });
});

describe('the mint of another', () => {
  it.each(['lost', 'undone', 'outlived'] as const)('stays as it is when ours is %s, also of the same epoch', (how) => {
    const record = recordWith(7, 4, intent(4, 'r1'), intent(4, 'r2'), intent(3, 'r3'));
    const { intents } = sharedOf(conclude(record, intent(4, 'r1'), 'classic', how, at));
    expect(intents).toEqual([...(how === 'lost' ? [intent(4, 'r1', true)] : []), intent(4, 'r2'), intent(3, 'r3')]);
  });
});
