import { describe, expect, test } from 'vitest';
import type { Ledger, NewPermit, NewSend, PermitTally, PermitWish, Settlement } from '../../src/core/messages/ports.ts';
import { seeded } from '../support/random.ts';
import {
  CONSENT,
  consent,
  DAY,
  FORM,
  form,
  HOUR,
  KEY,
  NOW,
  OPENID,
  payment,
  permitOf,
  REFUSED,
  SENT,
  send,
  settlement,
  UNKNOWN,
} from './ledger-support.ts';

const MINUTE = 60_000;

/** A ledger for one test. */
export interface TestLedger {
  readonly ledger: Ledger;
  close(): Promise<void>;
}

/** What every ledger must do. `create` opens a new, empty one. */
export function ledgerContract(name: string, create: () => Promise<TestLedger>): void {
  const withLedger = (act: (ledger: Ledger) => Promise<void>) => async (): Promise<void> => {
    const { ledger, close } = await create();
    try {
      await act(ledger);
    } finally {
      await close();
    }
  };
  /** How many messages one user may still be sent. */
  const usable = async (ledger: Ledger, now = NOW): Promise<number> =>
    (await ledger.count('wx1', OPENID, now)).reduce((sum, { messages }) => sum + messages, 0);
  /** The values that are drawn one after another until there are no more. */
  const drawAll = async (ledger: Ledger, permit: PermitWish = FORM, now = NOW): Promise<string[]> => {
    for (const values: string[] = []; ; ) {
      const begun = await ledger.begin(send({ permit, now }));
      if (begun.kind !== 'begun' || !begun.permit) return values;
      values.push(begun.permit.value);
      if (values.length > 100) throw new Error('the permits do not end');
    }
  };
  const f = form;

  describe(`${name}: idempotency keys`, () => {
    test.each([
      ['sent', SENT],
      ['refused', REFUSED],
    ] as const)('a message that was %s is answered again', (_, outcome) =>
      withLedger(async (ledger) => {
        const first = send({ key: KEY });
        expect(await ledger.begin(first)).toEqual({ kind: 'begun', permit: null });
        await ledger.settle(first.sendId, settlement(outcome));
        for (let i = 0; i < 2; i++)
          expect(await ledger.begin(send({ key: KEY }))).toEqual({ kind: 'settled', outcome });
      })(),
    );

    test(
      'a refusal without an answer is answered again',
      withLedger(async (ledger) => {
        const first = send({ key: KEY });
        const outcome = { ...REFUSED, answer: null } as typeof REFUSED;
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(outcome));
        expect(await ledger.begin(send({ key: KEY }))).toEqual({ kind: 'settled', outcome });
      }),
    );

    test.each(['begun', 'unknown'] as const)('a message that is %s is unsettled, with what it was sent with', (state) =>
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1')]);
        const first = send({ key: KEY, permit: FORM, now: NOW + 5.25 });
        await ledger.begin(first);
        if (state === 'unknown') await ledger.settle(first.sendId, settlement(UNKNOWN, 'held'));
        const unsettled = {
          kind: 'unsettled',
          sendId: first.sendId,
          owner: '',
          startTime: NOW + 5.25,
          permit: { kind: 'form_id', value: 'f1' },
        };
        expect(await ledger.begin(send({ key: KEY, permit: FORM }))).toEqual(unsettled);
        await ledger.settle(first.sendId, settlement(SENT));
        expect(await ledger.begin(send({ key: KEY, permit: FORM }))).toEqual({ kind: 'settled', outcome: SENT });
        expect(await usable(ledger)).toBe(0);
      })(),
    );

    test(
      'another message with the same key is refused, whatever became of the first',
      withLedger(async (ledger) => {
        const first = send({ key: KEY });
        const other = { key: KEY, digest: 'another' };
        await ledger.begin(first);
        expect(await ledger.begin(send(other))).toEqual({ kind: 'key_reused' });
        await ledger.settle(first.sendId, settlement(UNKNOWN));
        expect(await ledger.begin(send(other))).toEqual({ kind: 'key_reused' });
        await ledger.settle(first.sendId, settlement(SENT));
        expect(await ledger.begin(send(other))).toEqual({ kind: 'key_reused' });
      }),
    );

    test(
      'belong to one app',
      withLedger(async (ledger) => {
        await ledger.begin(send({ key: KEY }));
        expect(await ledger.begin(send({ key: KEY, appId: 'wx2', digest: 'another' }))).toMatchObject({
          kind: 'begun',
        });
      }),
    );

    test(
      'are free again when the message is freed',
      withLedger(async (ledger) => {
        const first = send({ key: KEY });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement({ kind: 'freed' }));
        expect(await ledger.begin(send({ key: KEY, digest: 'another' }))).toMatchObject({ kind: 'begun' });
      }),
    );

    test(
      'are kept until they expire and not longer, and their held permit is then usable',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1')]);
        const first = send({ key: KEY, permit: FORM });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(UNKNOWN, 'held'));
        const at = (now: number) => send({ key: KEY, permit: FORM, digest: 'another', now, keyExpireTime: now + DAY });
        expect(await ledger.begin(at(NOW + DAY - 1))).toEqual({ kind: 'key_reused' });
        expect(await ledger.begin(at(NOW + DAY))).toEqual({
          kind: 'begun',
          permit: { kind: 'form_id', value: 'f1', doubtful: true },
        });
        // The new message has the key for a day of its own, and the old one's settlement does not touch it.
        await ledger.settle(first.sendId, settlement(SENT));
        expect(await ledger.begin(at(NOW + DAY + 1))).toMatchObject({ kind: 'unsettled' });
      }),
    );

    test.each([
      ['begun', undefined],
      ['unknown', UNKNOWN],
      ['sent', SENT],
      ['refused', REFUSED],
    ] as const)('a lookup says of one that is %s what a new send would be told', (_, outcome) =>
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1')]);
        const first = send({ key: KEY, permit: FORM, now: NOW + 5.25 });
        await ledger.begin(first);
        if (outcome) await ledger.settle(first.sendId, settlement(outcome, 'held'));
        for (const digest of ['digest', 'another']) {
          const told = await ledger.begin(send({ key: KEY, digest, permit: FORM }));
          expect(await ledger.lookup({ appId: 'wx1', key: KEY, digest, now: NOW })).toEqual(told);
        }
      })(),
    );

    test(
      'a lookup finds nothing before, after and elsewhere, and changes nothing',
      withLedger(async (ledger) => {
        const query = { appId: 'wx1', key: KEY, digest: 'digest', now: NOW };
        expect(await ledger.lookup(query)).toBeUndefined();
        await ledger.deposit('wx1', [f('f1')]);
        const quota = { day: 5, limit: 1 };
        const first = send({ key: KEY, permit: FORM, quota });
        expect(await ledger.begin(first)).toMatchObject({ kind: 'begun' });
        await ledger.settle(first.sendId, settlement(UNKNOWN, 'held'));
        expect(await ledger.lookup({ ...query, appId: 'wx2' })).toBeUndefined();
        expect(await ledger.lookup({ ...query, now: NOW + DAY })).toBeUndefined();
        expect(await ledger.lookup({ ...query, now: NOW + DAY - 1 })).toMatchObject({ kind: 'unsettled' });
        expect(await usable(ledger)).toBe(0);
        expect(await ledger.begin(send({ quota }))).toEqual({ kind: 'over_quota' });
        await ledger.settle(first.sendId, settlement({ kind: 'freed' }));
        expect(await ledger.lookup(query)).toBeUndefined();
      }),
    );

    test(
      'without one, messages are independent',
      withLedger(async (ledger) => {
        const [a, b] = [send(), send()];
        expect((await Promise.all([a, b].map((one) => ledger.begin(one)))).map(({ kind }) => kind)).toEqual([
          'begun',
          'begun',
        ]);
      }),
    );

    test(
      'of many concurrent messages with one key, one begins',
      withLedger(async (ledger) => {
        const begun = await Promise.all(Array.from({ length: 20 }, () => ledger.begin(send({ key: KEY }))));
        expect(begun.map(({ kind }) => kind).toSorted()).toEqual(['begun', ...Array(19).fill('unsettled')]);
      }),
    );
  });

  describe(`${name}: settling`, () => {
    test.each([SENT, REFUSED])('the first final outcome stays ($kind)', (outcome) =>
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [payment('p1')]);
        const first = send({ key: KEY, permit: FORM });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(outcome, 'spent'));
        // A write that is repeated because its answer was lost, or one that comes late.
        for (const late of [outcome, UNKNOWN, SENT, REFUSED, { kind: 'freed' } as const])
          await ledger.settle(first.sendId, settlement(late, 'spent'));
        expect(await ledger.begin(send({ key: KEY }))).toEqual({ kind: 'settled', outcome });
        expect(await usable(ledger)).toBe(2);
      })(),
    );

    test(
      'a message that is not known changes nothing',
      withLedger(async (ledger) => {
        await ledger.settle('nobody', settlement(SENT));
        expect(await ledger.redraw('nobody', FORM, NOW)).toBeNull();
        expect(await usable(ledger)).toBe(0);
      }),
    );

    const fates: [Settlement['permit'], number][] = [
      ['spent', 2],
      ['returned', 3],
      ['void', 0],
      ['held', 2],
    ];
    test.each(fates)('a payment that is %s leaves %i messages', (permit, left) =>
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [payment('p1')]);
        const first = send({ key: KEY, permit: FORM });
        await ledger.begin(first);
        expect(await usable(ledger)).toBe(2);
        await ledger.settle(first.sendId, settlement(UNKNOWN, permit));
        expect(await usable(ledger)).toBe(left);
        expect(await ledger.begin(send({ key: KEY }))).toMatchObject({
          permit: permit === 'held' ? { kind: 'prepay_id', value: 'p1' } : null,
        });
      })(),
    );

    test.each([
      ['without key', '', UNKNOWN],
      ['that is freed', KEY, { kind: 'freed' }],
    ] as const)('a message %s holds no permit once it is settled', (_, key, outcome) =>
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1')]);
        const first = send({ key, permit: FORM });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(outcome, 'held'));
        expect(await drawAll(ledger)).toEqual(['f1']);
      })(),
    );

    test(
      'a payment that is void stays so when other messages return it',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [payment('p1')]);
        const [a, b, c] = [send({ permit: FORM }), send({ permit: FORM }), send({ permit: FORM })] as const;
        for (const one of [a, b, c]) await ledger.begin(one);
        await ledger.settle(a.sendId, settlement(REFUSED, 'void'));
        await ledger.settle(b.sendId, settlement(UNKNOWN, 'returned'));
        await ledger.settle(c.sendId, settlement(SENT, 'spent'));
        expect(await drawAll(ledger)).toEqual([]);
      }),
    );

    test(
      "a void consent takes the user's others to that template with it, and nothing else",
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [
          consent('c1'),
          consent('c2'),
          consent('reserved', { collectTime: NOW - 9 * HOUR }),
          consent('other template', { templateId: 't2' }),
          consent('other user', { toUser: 'o2' }),
          f('f1'),
        ]);
        await ledger.deposit('wx2', [consent('other app')]);
        const [reserved, first] = [send({ permit: CONSENT }), send({ permit: CONSENT })] as const;
        expect(permitOf(await ledger.begin(reserved))).toEqual({ kind: 'consent', value: 'reserved' });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(REFUSED, 'void'));
        await ledger.settle(reserved.sendId, settlement(REFUSED, 'returned'));
        expect(await drawAll(ledger, CONSENT)).toEqual([]);
        expect(await drawAll(ledger, { ...CONSENT, templateId: 't2' })).toEqual(['other template']);
        expect(await drawAll(ledger, { ...CONSENT, toUser: 'o2' })).toEqual(['other user']);
        expect(await drawAll(ledger)).toEqual(['f1']);
        expect(await ledger.count('wx2', undefined, NOW)).toHaveLength(1);
      }),
    );
  });

  describe(`${name}: drawing`, () => {
    test(
      'the oldest first, a payment three times, each use once',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [
          f('young', { collectTime: NOW - 1 }),
          payment('middle', { collectTime: NOW - 2 }),
          f('old', { collectTime: NOW - 2.5 }),
        ]);
        await ledger.deposit('wx1', [f('oldest', { collectTime: NOW - 9 })]);
        expect(await drawAll(ledger)).toEqual(['oldest', 'old', 'middle', 'middle', 'middle', 'young']);
        expect(await ledger.begin(send({ permit: FORM }))).toEqual({ kind: 'no_permit' });
      }),
    );

    test(
      'one that is returned is again the oldest, one that is spent is gone',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('a', { collectTime: NOW - 3 }), f('b', { collectTime: NOW - 2 })]);
        const [one, two] = [send({ permit: FORM }), send({ permit: FORM })] as const;
        await ledger.begin(one);
        await ledger.begin(two);
        await ledger.deposit('wx1', [f('c', { collectTime: NOW - 1 })]);
        await ledger.settle(one.sendId, settlement({ kind: 'freed' }, 'returned'));
        await ledger.settle(two.sendId, settlement(SENT, 'spent'));
        expect(await drawAll(ledger)).toEqual(['a', 'c']);
      }),
    );

    test(
      'never one that has expired, to the millisecond',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1', { expireTime: NOW + 10 })]);
        expect(await ledger.begin(send({ permit: FORM, now: NOW + 10 }))).toEqual({ kind: 'no_permit' });
        expect(permitOf(await ledger.begin(send({ permit: FORM, now: NOW + 9 })))).toMatchObject({ value: 'f1' });
      }),
    );

    test(
      "never another user's, app's or kind's",
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1', { toUser: 'o2' }), consent('c1', { templateId: 't2' })]);
        await ledger.deposit('wx2', [f('f2')]);
        expect(await ledger.begin(send({ permit: FORM }))).toEqual({ kind: 'no_permit' });
        expect(await ledger.begin(send({ permit: CONSENT }))).toEqual({ kind: 'begun', permit: null });
      }),
    );

    test(
      'a form that the caller names is reserved where it is usable; the message is sent in any case',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1'), f('f2', { expireTime: NOW }), f('spent'), consent('c1')]);
        const named = async (value: string) => permitOf(await ledger.begin(send({ permit: { kind: 'named', value } })));
        expect(await named('f1')).toEqual({ kind: 'form_id', value: 'f1' });
        const spent = send({ permit: { kind: 'named', value: 'spent' } });
        await ledger.begin(spent);
        await ledger.settle(spent.sendId, settlement(SENT));
        for (const value of ['f2', 'c1', 'spent', 'nobody']) expect(await named(value)).toBeNull();
        expect(await drawAll(ledger)).toEqual([]);
      }),
    );

    test(
      'a form that nobody had deposited when a message named it is doubtful when it is deposited later',
      withLedger(async (ledger) => {
        const named = send({ permit: { kind: 'named', value: 'f1' } });
        expect(permitOf(await ledger.begin(named))).toBeNull();
        expect(await usable(ledger)).toBe(0);
        expect(await ledger.deposit('wx1', [f('f1')])).toMatchObject({ deposited: 1, duplicates: 0 });
        expect(await ledger.deposit('wx1', [f('f1')])).toMatchObject({ deposited: 0, duplicates: 1 });
        await ledger.settle(named.sendId, settlement(SENT));
        expect(await usable(ledger)).toBe(1);
        const drawn = permitOf(await ledger.begin(send({ permit: FORM })));
        expect(drawn).toEqual({ kind: 'form_id', value: 'f1', doubtful: true });
        // And is forgotten when it can be of no use any more.
        await ledger.begin(send({ permit: { kind: 'named', value: 'f2' } }));
        expect((await ledger.purge(NOW + 7 * DAY - HOUR - 1)).permits).toBe(0);
        expect((await ledger.purge(NOW + 7 * DAY)).permits).toBe(1);
      }),
    );

    test(
      'its times are those of the deposit, and not of the message that named it',
      withLedger(async (ledger) => {
        const named = send({ permit: { kind: 'named', value: 'f1' } });
        await ledger.begin(named);
        await ledger.settle(named.sendId, settlement({ kind: 'freed' }, 'returned'));
        await ledger.deposit('wx1', [f('f1', { collectTime: NOW - 2 * HOUR }), f('f2', { collectTime: NOW - HOUR })]);
        const expiry = NOW - 2 * HOUR + 7 * DAY;
        expect([await usable(ledger, expiry - 1), await usable(ledger, expiry)]).toEqual([2, 1]);
        expect(await drawAll(ledger)).toEqual(['f1', 'f2']);
      }),
    );

    test(
      'but not while other messages have reserved all its uses',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('f1'), payment('p1')]);
        const named = (value: string) => send({ permit: { kind: 'named', value } });
        const first = named('f1');
        await ledger.begin(first);
        expect(await ledger.begin(named('f1'))).toEqual({ kind: 'no_permit' });
        for (let use = 0; use < 3; use++) expect(permitOf(await ledger.begin(named('p1')))?.value).toBe('p1');
        expect(await ledger.begin(named('p1'))).toEqual({ kind: 'no_permit' });
        await ledger.settle(first.sendId, settlement({ kind: 'freed' }, 'returned'));
        expect(permitOf(await ledger.begin(named('f1')))?.value).toBe('f1');
      }),
    );

    describe('a permit is doubtful once a message of unknown fate has returned it', () => {
      const doubtful = { kind: 'form_id', value: 'f1', doubtful: true };

      test.each<[string, NewSend, (ledger: Ledger, sent: NewSend) => Promise<unknown>]>([
        [
          'settled so',
          send({ key: KEY, permit: FORM }),
          (ledger, { sendId }) => ledger.settle(sendId, settlement(UNKNOWN, 'returned')),
        ],
        [
          'settled so, to be held for a key that it does not have',
          send({ permit: FORM }),
          (ledger, { sendId }) => ledger.settle(sendId, settlement(UNKNOWN, 'held')),
        ],
        ['left by a process that died', send({ permit: FORM }), (ledger) => ledger.recover(NOW, '')],
        ['whose key was purged', send({ key: KEY, permit: FORM }), (ledger) => ledger.purge(NOW + DAY)],
        [
          'whose key was used again after its time',
          send({ key: KEY, permit: FORM }),
          (ledger) => ledger.begin(send({ key: KEY, now: NOW + DAY })),
        ],
      ])('%s', (_, sent, end) =>
        withLedger(async (ledger) => {
          await ledger.deposit('wx1', [f('f1')]);
          await ledger.begin(sent);
          await end(ledger, sent);
          expect(permitOf(await ledger.begin(send({ permit: FORM })))).toEqual(doubtful);
        })(),
      );

      test(
        'and not when it is known that none was sent',
        withLedger(async (ledger) => {
          await ledger.deposit('wx1', [f('f1')]);
          for (const outcome of [{ kind: 'freed' } as const, REFUSED]) {
            const sent = send({ permit: FORM });
            await ledger.begin(sent);
            await ledger.settle(sent.sendId, settlement(outcome, 'returned'));
          }
          expect(permitOf(await ledger.begin(send({ permit: FORM })))).toEqual({ kind: 'form_id', value: 'f1' });
        }),
      );

      test(
        'it is told so again to those who repeat the key',
        withLedger(async (ledger) => {
          await ledger.deposit('wx1', [f('f1')]);
          const lost = send({ permit: FORM });
          await ledger.begin(lost);
          await ledger.recover(NOW, '');
          await ledger.begin(send({ key: KEY, permit: FORM }));
          expect(await ledger.begin(send({ key: KEY, permit: FORM }))).toMatchObject({
            kind: 'unsettled',
            permit: doubtful,
          });
        }),
      );
    });

    test(
      'a consent that was collected after the send began survives its refusal',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [consent('before')]);
        const sent = send({ permit: CONSENT });
        await ledger.begin(sent);
        await ledger.deposit('wx1', [consent('at', { collectTime: NOW }), consent('after', { collectTime: NOW + 1 })]);
        await ledger.settle(sent.sendId, settlement(REFUSED, 'void', NOW + 2));
        expect(await drawAll(ledger, CONSENT)).toEqual(['after']);
      }),
    );

    test(
      'fifty messages at once share ten permits: each is reserved once',
      withLedger(async (ledger) => {
        await ledger.deposit(
          'wx1',
          Array.from({ length: 10 }, (_, i) => f(`f${i}`)),
        );
        const begun = await Promise.all(Array.from({ length: 50 }, () => ledger.begin(send({ permit: FORM }))));
        const values = begun.flatMap((one) => (one.kind === 'begun' ? [one.permit?.value] : []));
        expect(new Set(values).size).toBe(10);
        expect(values.length).toBe(10);
        expect(begun.filter(({ kind }) => kind === 'no_permit').length).toBe(40);
      }),
    );

    test(
      'a redraw voids the permit and reserves the next, until there is none',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [payment('a', { collectTime: NOW - 9 * HOUR }), f('b'), f('c')]);
        const first = send({ key: KEY, permit: FORM });
        expect(permitOf(await ledger.begin(first))?.value).toBe('a');
        expect(await ledger.redraw(first.sendId, FORM, NOW)).toEqual({ kind: 'form_id', value: 'b' });
        expect(await usable(ledger)).toBe(1);
        expect(await ledger.begin(send({ key: KEY }))).toMatchObject({ kind: 'unsettled', permit: { value: 'b' } });
        expect(await ledger.redraw(first.sendId, FORM, NOW)).toEqual({ kind: 'form_id', value: 'c' });
        expect(await ledger.redraw(first.sendId, FORM, NOW)).toBeNull();
        await ledger.settle(first.sendId, settlement(REFUSED, 'returned'));
        expect(await usable(ledger)).toBe(0);
        // It is over: another would be reserved for nobody.
        await ledger.deposit('wx1', [f('d')]);
        expect(await ledger.redraw(first.sendId, FORM, NOW)).toBeNull();
        expect(await usable(ledger)).toBe(1);
      }),
    );
  });

  describe(`${name}: deposits and counts`, () => {
    test(
      'a permit that is known is a duplicate, also when it is used, and changes nothing',
      withLedger(async (ledger) => {
        expect(await ledger.deposit('wx1', [f('f1'), f('f2'), f('f1')])).toMatchObject({ deposited: 2, duplicates: 1 });
        const first = send({ permit: { kind: 'named', value: 'f1' } });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(SENT));
        expect(await ledger.deposit('wx1', [f('f1', { uses: 3, toUser: 'o2' })])).toMatchObject({
          deposited: 0,
          duplicates: 1,
        });
        expect(await drawAll(ledger)).toEqual(['f2']);
        // Other kinds and apps have names of their own.
        expect(await ledger.deposit('wx1', [payment('f1')])).toMatchObject({ deposited: 1, duplicates: 0 });
        expect(await ledger.deposit('wx2', [f('f1')])).toMatchObject({ deposited: 1, duplicates: 0 });
      }),
    );

    test(
      'a used consent is known as a duplicate for a week, and then forgotten',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [consent('c1')]);
        const first = send({ permit: CONSENT });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(SENT, 'spent', NOW));
        await ledger.purge(NOW + 7 * DAY - 1);
        expect(await ledger.deposit('wx1', [consent('c1')])).toMatchObject({ deposited: 0, duplicates: 1 });
        expect(await ledger.purge(NOW + 7 * DAY)).toEqual({ keys: 0, permits: 1 });
        expect(await ledger.deposit('wx1', [consent('c1')])).toMatchObject({ deposited: 1, duplicates: 0 });
      }),
    );

    test(
      'counts are by kind and by the day in Shanghai on which they expire',
      withLedger(async (ledger) => {
        const midnight = Date.UTC(2026, 0, 20, 16);
        const day = (midnight + 8 * HOUR) / DAY;
        await ledger.deposit('wx1', [
          f('a', { expireTime: midnight - 1 }),
          f('b', { expireTime: midnight }),
          f('c', { expireTime: midnight + DAY - 1, toUser: 'o2' }),
          payment('d', { expireTime: midnight }),
          payment('e', { expireTime: midnight + 1 }),
          consent('g'),
          f('expired', { expireTime: NOW }),
        ]);
        await ledger.deposit('wx2', [f('a')]);
        await ledger.begin(send({ permit: { kind: 'named', value: 'd' } }));
        const first = send({ permit: { kind: 'named', value: 'a' } });
        await ledger.begin(first);
        await ledger.settle(first.sendId, settlement(SENT));
        const mine = [
          { kind: 'consent', expireDay: null, permits: 1, messages: 1 },
          { kind: 'form_id', expireDay: day, permits: 1, messages: 1 },
          { kind: 'prepay_id', expireDay: day, permits: 2, messages: 5 },
        ];
        const byKind = (a: { kind: string }, b: { kind: string }) => a.kind.localeCompare(b.kind);
        expect((await ledger.count('wx1', OPENID, NOW)).toSorted(byKind)).toEqual(mine);
        mine[1] = { kind: 'form_id', expireDay: day, permits: 2, messages: 2 };
        expect((await ledger.count('wx1', undefined, NOW)).toSorted(byKind)).toEqual(mine);
        expect(await ledger.count('wx3', undefined, NOW)).toEqual([]);
      }),
    );

    test(
      'of an app, those are left out that expire within the ten minutes of now',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [
          f('within', { expireTime: NOW + 10 * MINUTE - 1 }),
          f('after', { expireTime: NOW + 10 * MINUTE }),
        ]);
        const messages = async (user: string | undefined, now: number) =>
          (await ledger.count('wx1', user, now)).reduce((sum, tally) => sum + tally.messages, 0);
        for (const [now, ofApp, ofUser] of [
          [NOW - 1, 2, 2],
          [NOW, 1, 2],
          [NOW + 10 * MINUTE - 2, 1, 2],
          [NOW + 10 * MINUTE, 0, 0],
        ] as const)
          expect([await messages(undefined, now), await messages(OPENID, now)]).toEqual([ofApp, ofUser]);
      }),
    );

    test(
      'an app has what its users have, whatever becomes of its permits',
      withLedger(async (ledger) => {
        const users = ['o0', 'o1', 'o2'];
        const expected = async () => {
          const sums = new Map<string, PermitTally>();
          for (const user of users)
            for (const { kind, expireDay, permits, messages } of await ledger.count('wx1', user, NOW)) {
              const name = `${kind} ${expireDay}`;
              const sum = sums.get(name) ?? { kind, expireDay, permits: 0, messages: 0 };
              sums.set(name, { ...sum, permits: sum.permits + permits, messages: sum.messages + messages });
            }
          return [...sums.keys()].sort().map((name) => sums.get(name));
        };
        const actual = async () =>
          (await ledger.count('wx1', undefined, NOW)).toSorted((a, b) =>
            `${a.kind} ${a.expireDay}` < `${b.kind} ${b.expireDay}` ? -1 : 1,
          );
        const random = seeded(7);
        const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
        const open: string[] = [];
        let most = 0;
        for (let i = 0; i < 300; i++) {
          const toUser = pick(users);
          const draw = pick([
            { kind: 'form', toUser },
            { kind: 'consent', toUser, templateId: 't1' },
            { kind: 'named', value: `p${Math.floor(random() * 90)}` },
          ] as const);
          switch (pick(['deposit', 'begin', 'settle', 'settle', 'redraw', 'recover'] as const)) {
            case 'deposit': {
              const expireTime = NOW + pick([HOUR, DAY, 5 * DAY]);
              const made = pick([
                f(`f${i}`, { toUser, expireTime }),
                payment(`p${Math.floor(random() * 90)}`, { toUser, expireTime }),
                consent(`c${i}`, { toUser }),
              ]);
              await ledger.deposit('wx1', [made]);
              break;
            }
            case 'begin': {
              const one = send({ permit: draw, key: random() < 0.5 ? `k${i}` : '' });
              if ((await ledger.begin(one)).kind === 'begun') open.push(one.sendId);
              break;
            }
            case 'settle': {
              const [id] = open.splice(Math.floor(random() * open.length), 1);
              const outcome = pick([SENT, REFUSED, UNKNOWN, { kind: 'freed' } as const]);
              await ledger.settle(id ?? '', settlement(outcome, pick(['spent', 'returned', 'void', 'held'])));
              break;
            }
            case 'redraw':
              if (open.length > 0) await ledger.redraw(pick(open), draw, NOW);
              break;
            case 'recover':
              if (random() < 0.2) await ledger.recover(NOW, '');
          }
          const counts = await actual();
          expect(counts).toEqual(await expected());
          most = Math.max(most, counts.length);
        }
        expect(most).toBeGreaterThan(4);
        // What expires is forgotten by all; consents stay.
        await ledger.purge(NOW + 8 * DAY);
        expect(await actual()).toEqual(await expected());
        expect((await actual()).map(({ kind }) => kind)).toEqual(['consent']);
      }),
    );
  });

  describe(`${name}: limits of permits`, () => {
    const many = (count: number, change: Parameters<typeof form>[1] = {}, prefix = 'f') =>
      Array.from({ length: count }, (_, i) => f(`${prefix}${i}`, change));
    const added = (deposited: number, duplicates = 0) => ({ deposited, duplicates });

    test(
      'an app has no more than it may, and a deposit of too many adds none',
      withLedger(async (ledger) => {
        const deposit = (permits: NewPermit[]) => ledger.deposit('wx1', permits, 10);
        expect(await deposit(many(8))).toEqual(added(8));
        expect(await deposit(many(3, {}, 'g'))).toBe('full');
        expect(await usable(ledger)).toBe(8);
        expect(await deposit([...many(8), ...many(2, {}, 'g'), ...many(2, {}, 'g')])).toEqual(added(2, 10));
        expect(await deposit([f('h')])).toBe('full');
        // What is known takes no room, nor another app's, nor what is used.
        expect(await deposit(many(8))).toEqual(added(0, 8));
        expect(await ledger.deposit('wx2', many(10), 10)).toEqual(added(10));
        const first = send({ permit: FORM });
        await ledger.begin(first);
        expect(await deposit([f('h')])).toBe('full');
        await ledger.settle(first.sendId, settlement(SENT));
        expect(await deposit([f('h')])).toEqual(added(1));
        expect(await deposit([consent('c')])).toBe('full');
        // What has expired, until it is forgotten.
        await ledger.purge(NOW + 8 * DAY);
        expect(await deposit(many(10, { collectTime: NOW + 8 * DAY }, 'i'))).toEqual(added(10));
      }),
    );

    test(
      'a user draws at once, however many of theirs have expired and are not forgotten',
      withLedger(async (ledger) => {
        const expired = Array.from({ length: 1_000 }, (_, i) => f(`old${i}`, { collectTime: NOW - 7 * DAY - i }));
        await ledger.deposit('wx1', [...expired, f('good')]);
        expect(await drawAll(ledger)).toEqual(['good']);
      }),
    );

    test(
      'a refusal voids so many consents at once, and the next one the rest',
      withLedger(async (ledger) => {
        await ledger.deposit(
          'wx1',
          Array.from({ length: 700 }, (_, i) => consent(`c${i}`, { collectTime: NOW - 1_000 + i })),
        );
        for (const left of [[199, 200], [0]]) {
          const first = send({ permit: CONSENT });
          await ledger.begin(first);
          await ledger.settle(first.sendId, settlement(REFUSED, 'void'));
          expect(left).toContain(await usable(ledger));
        }
      }),
    );
  });

  describe(`${name}: quota`, () => {
    const quota = { day: 5, limit: 2 };
    test(
      'is per app and day, and spent only by messages that begin',
      withLedger(async (ledger) => {
        expect(await ledger.begin(send({ quota, permit: FORM }))).toEqual({ kind: 'no_permit' });
        const first = send({ quota, key: KEY });
        await ledger.begin(first);
        expect(await ledger.begin(send({ quota, key: KEY }))).toMatchObject({ kind: 'unsettled' });
        expect(await ledger.begin(send({ quota }))).toMatchObject({ kind: 'begun' });
        expect(await ledger.begin(send({ quota }))).toEqual({ kind: 'over_quota' });
        expect(await ledger.begin(send({ quota, appId: 'wx2' }))).toMatchObject({ kind: 'begun' });
        expect(await ledger.begin(send({ quota: { day: 6, limit: 1 } }))).toMatchObject({ kind: 'begun' });
        // A key that is known is answered even then, and a limit that was raised counts at once.
        expect(await ledger.begin(send({ quota, key: KEY }))).toMatchObject({ kind: 'unsettled' });
        expect(await ledger.begin(send({ quota: { day: 5, limit: 3 } }))).toMatchObject({ kind: 'begun' });
      }),
    );

    test.each([
      ['given back by a message that is freed', { kind: 'freed' }, 'begun'],
      ['not given back by one that is sent', SENT, 'over_quota'],
      ['not given back by one that is refused', REFUSED, 'over_quota'],
      ['not given back by one whose fate is unknown', UNKNOWN, 'over_quota'],
    ] as const)('is %s', (_, outcome, next) =>
      withLedger(async (ledger) => {
        const [one, two] = [send({ quota }), send({ quota })] as const;
        await ledger.begin(one);
        await ledger.begin(two);
        // Once, however often it is written.
        for (let i = 0; i < 3; i++) await ledger.settle(one.sendId, settlement(outcome));
        expect(await ledger.begin(send({ quota }))).toMatchObject({ kind: next });
        expect(await ledger.begin(send({ quota }))).toEqual({ kind: 'over_quota' });
      })(),
    );

    test(
      'is given back to the day on which it was spent',
      withLedger(async (ledger) => {
        const first = send({ quota: { day: 5, limit: 1 } });
        await ledger.begin(first);
        await ledger.begin(send({ quota: { day: 6, limit: 1 } }));
        await ledger.settle(first.sendId, settlement({ kind: 'freed' }));
        expect(await ledger.begin(send({ quota: { day: 6, limit: 1 } }))).toEqual({ kind: 'over_quota' });
        expect(await ledger.begin(send({ quota: { day: 5, limit: 1 } }))).toMatchObject({ kind: 'begun' });
      }),
    );

    test(
      'is not exceeded by fifty messages at once',
      withLedger(async (ledger) => {
        const begun = await Promise.all(
          Array.from({ length: 50 }, () => ledger.begin(send({ quota: { day: 5, limit: 10 } }))),
        );
        expect(begun.filter(({ kind }) => kind === 'begun').length).toBe(10);
      }),
    );

    test(
      'of today outlives a purge, wherever the day begins',
      withLedger(async (ledger) => {
        const today = Math.floor(NOW / DAY);
        for (const day of [today - 1, today, today + 1]) {
          await ledger.begin(send({ quota: { day, limit: 1 } }));
          await ledger.purge(NOW);
          expect(await ledger.begin(send({ quota: { day, limit: 1 } }))).toEqual({ kind: 'over_quota' });
        }
      }),
    );
  });

  describe(`${name}: recovery and purges`, () => {
    test(
      'what was begun and not settled: with a key its fate is unknown and its permit held, without one nothing is left',
      withLedger(async (ledger) => {
        await ledger.deposit('wx1', [f('keyed', { collectTime: NOW - 2 * HOUR }), f('keyless')]);
        const keyed = send({ key: KEY, permit: FORM });
        const [keyless, done, unknown] = [
          send({ permit: FORM }),
          send({ key: 'done' }),
          send({ key: 'unknown' }),
        ] as const;
        for (const one of [keyed, keyless, done, unknown]) await ledger.begin(one);
        await ledger.settle(done.sendId, settlement(SENT));
        await ledger.settle(unknown.sendId, settlement(UNKNOWN));
        expect(await ledger.recover(NOW + 1, '')).toBe(2);
        expect(await ledger.recover(NOW + 1, '')).toBe(0);
        expect(await drawAll(ledger)).toEqual(['keyless']);
        expect(await ledger.begin(send({ key: KEY }))).toEqual({
          kind: 'unsettled',
          sendId: keyed.sendId,
          owner: '',
          startTime: NOW,
          permit: { kind: 'form_id', value: 'keyed' },
        });
        expect(await ledger.begin(send({ key: 'done' }))).toEqual({ kind: 'settled', outcome: SENT });
        // It may be resumed, and settled.
        await ledger.settle(keyed.sendId, settlement(SENT));
        expect(await ledger.begin(send({ key: KEY }))).toEqual({ kind: 'settled', outcome: SENT });
      }),
    );

    test(
      'a purge forgets expired keys, returns their held permits, and forgets expired permits',
      withLedger(async (ledger) => {
        const early = { expireTime: NOW + DAY };
        await ledger.deposit('wx1', [f('held', { collectTime: NOW - 2 * HOUR }), f('early', early), consent('c1')]);
        const held = send({ key: KEY, permit: FORM });
        const later = send({ key: 'later', keyExpireTime: NOW + DAY + 1 });
        const keyless = send({ permit: { kind: 'named', value: 'early' } });
        for (const one of [held, later, keyless]) await ledger.begin(one);
        await ledger.settle(held.sendId, settlement(UNKNOWN, 'held'));
        expect(await ledger.purge(NOW + DAY - 1)).toEqual({ keys: 0, permits: 0 });
        // A permit that a message under way has reserved stays until it is settled.
        expect(await ledger.purge(NOW + DAY)).toEqual({ keys: 1, permits: 0 });
        await ledger.settle(keyless.sendId, settlement(SENT));
        expect(await ledger.purge(NOW + DAY)).toEqual({ keys: 0, permits: 1 });
        expect(await drawAll(ledger)).toEqual(['held']);
        expect(await drawAll(ledger, CONSENT)).toEqual(['c1']);
        expect(await ledger.begin(send({ key: 'later' }))).toMatchObject({ kind: 'unsettled' });
      }),
    );

    test(
      'a purge of thousands is complete, and lets others have their turn',
      withLedger(async (ledger) => {
        await ledger.deposit(
          'wx1',
          Array.from({ length: 1200 }, (_, i) => f(`f${i}`, { expireTime: NOW + 1 })),
        );
        await Promise.all(Array.from({ length: 1200 }, (_, i) => ledger.begin(send({ key: `${i}` }))));
        let isPurged = false;
        const purging = ledger.purge(NOW + DAY).finally(() => {
          isPurged = true;
        });
        let turns = 0;
        for (; !isPurged; turns++) await ledger.begin(send());
        expect(turns).toBeGreaterThan(5);
        expect(await purging).toEqual({ keys: 1200, permits: 1200 });
      }),
    );
  });

  test(
    `${name}: one operation that fails leaves nothing of it, and does not harm those that arrive with it`,
    withLedger(async (ledger) => {
      await ledger.deposit('wx1', [f('f1', { collectTime: NOW - 2 * HOUR }), f('f2')]);
      const quota = { day: 5, limit: 2 };
      const first = send({ key: KEY, quota, permit: FORM });
      const results = await Promise.allSettled([
        ledger.begin(first),
        ledger.begin({ ...first, key: 'another' }),
        ledger.begin(send({ quota })),
        ledger.deposit('wx1', [f('f3'), f('f4', { collectTime: Number.NaN })]),
      ]);
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
      for (const result of results) {
        if (result.status !== 'rejected') continue;
        for (const secret of [OPENID, KEY, 'another', 'f4'])
          expect(`${result.reason.stack} ${result.reason.cause}`.includes(secret)).toBe(false);
      }
      // The one that failed had reserved f2 and spent the quota before it did.
      expect(await drawAll(ledger)).toEqual(['f2']);
      expect(await ledger.begin(send({ quota }))).toEqual({ kind: 'over_quota' });
    }),
  );
}
