import { describe, expect, it } from 'vitest';
import { LOCAL, type Principal } from '../../src/core/access/principal.ts';
import { ARRIVAL_TIMEOUT_MS, Arrival, Door, type Entered, MAX_ARRIVALS } from '../../src/server/door.ts';
import type { Authenticate, Head } from '../../src/transport/head.ts';
import { FakeClock, settle } from '../support/clock.ts';

const SOMEBODY = { ...LOCAL, name: 'key:x' };
const head = (path: string): Head => ({ path, headers: {}, socket: undefined });
const clock = new FakeClock();
const doorOf = (authenticate?: Authenticate) => new Door([['/a', 1]], { authenticate, clock });

it('lets in by paths that are listed, and asks who comes', () => {
  const asked: string[] = [];
  const door = doorOf(({ path }) => {
    asked.push(path);
    return SOMEBODY;
  });
  expect(door.paths).toEqual(['/a']);
  expect(door.enter(head('/a'))).toEqual({ answer: 1, principal: SOMEBODY });
  expect(door.enter(head('/b'))).toBeUndefined();
  expect(asked).toEqual(['/a']);
});

it('says who is refused, and what would have answered', () => {
  const refusal = new Error('who are you?');
  const door = doorOf(() => {
    throw refusal;
  });
  expect(door.enter(head('/a'))).toEqual({ answer: 1, refusal });
});

it('takes everyone for local where nobody asks', () => {
  expect(doorOf().enter(head('/a'))).toEqual({ answer: 1, principal: LOCAL });
});

it('asks nobody who comes to what is open', () => {
  const authenticate = () => expect.fail('somebody was asked');
  const door = new Door([['/a', 1, true]], { authenticate, clock });
  expect(door.enter(head('/a'))).toEqual({ answer: 1, principal: LOCAL });
});

it('has each path once', () => {
  const twice = [
    ['/a', 1],
    ['/a', 2],
  ] as const;
  expect(() => new Door(twice, { clock })).toThrow('/a is listed twice');
});

describe('where it takes time to know who comes', () => {
  /** A door that says who came when it is told to, and its time. */
  function waiting() {
    const clock = new FakeClock();
    const asked: PromiseWithResolvers<Principal>[] = [];
    const door = new Door([['/a', 1]], {
      clock,
      authenticate() {
        const answer = Promise.withResolvers<Principal>();
        asked.push(answer);
        return answer.promise;
      },
    });
    const entered: Entered<number>[] = [];
    const come = () => {
      const arrival = door.enter(head('/a'));
      if (!(arrival instanceof Arrival)) return arrival;
      arrival.onKnown((known) => entered.push(known));
      return arrival;
    };
    return { clock, door, asked, entered, come };
  }

  it.each(['lets in', 'refuses'] as const)('%s who waited, once', async (what) => {
    const { clock, door, asked, entered, come } = waiting();
    come();
    expect(door.arrivals).toBe(1);
    const refusal = new Error('who are you?');
    if (what === 'lets in') asked[0]?.resolve(SOMEBODY);
    else asked[0]?.reject(refusal);
    await settle();
    expect(entered).toEqual([{ answer: 1, ...(what === 'lets in' ? { principal: SOMEBODY } : { refusal }) }]);
    expect([door.arrivals, clock.pending]).toEqual([0, 0]);
  });

  it('keeps nothing of who left meanwhile', async () => {
    const { clock, door, asked, entered, come } = waiting();
    const arrival = come();
    if (arrival instanceof Arrival) arrival.leave();
    expect([door.arrivals, clock.pending]).toEqual([0, 0]);
    asked[0]?.resolve(SOMEBODY);
    await settle();
    expect([entered, door.arrivals]).toEqual([[], 0]);
  });

  it('waits no longer than ten seconds', async () => {
    const { clock, door, asked, entered, come } = waiting();
    come();
    await clock.advance(ARRIVAL_TIMEOUT_MS);
    expect(entered).toMatchObject([{ refusal: { reason: 'TOO_MANY_WAITING', retryAfterMs: 1_000 } }]);
    asked[0]?.reject(new Error('late'));
    await settle();
    expect([entered.length, door.arrivals]).toEqual([1, 0]);
  });

  it('lets so many wait and no more, until one is let in', async () => {
    const { door, asked, come } = waiting();
    for (let i = 0; i < MAX_ARRIVALS; i++) expect(come()).toBeInstanceOf(Arrival);
    expect(come()).toMatchObject({ answer: 1, refusal: { reason: 'TOO_MANY_WAITING', retryAfterMs: 1_000 } });
    asked[MAX_ARRIVALS]?.reject(new Error('heard by nobody'));
    asked[0]?.resolve(SOMEBODY);
    await settle();
    expect(door.arrivals).toBe(MAX_ARRIVALS - 1);
    expect(come()).toBeInstanceOf(Arrival);
  });
});
