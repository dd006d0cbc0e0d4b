import { beforeEach, describe, expect, it } from 'vitest';
import { Held, type Holder } from '../../src/server/held.ts';
import { FakeClock, settle } from '../support/clock.ts';

class Peer implements Holder {
  hold: Holder['hold'];
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  letGo(): void {
    gone.push(this.name);
  }
}

let gone: string[];
let clock: FakeClock;
let held: Held;
const peers = (...names: string[]) => names.map((name) => new Peer(name)) as [Peer, Peer, Peer];

beforeEach(() => {
  gone = [];
  clock = new FakeClock();
  held = new Held(clock, 1_000, 100);
});

describe('what is held', () => {
  it('is let go sooner from the moment that it is hastened, and what comes later is too', async () => {
    const [a, b, c] = peers('a', 'b', 'c');
    held.set(a, 0);
    await clock.advance(600);
    held.set(b, 0);
    held.hasten(500);
    await clock.advance(0);
    expect(gone).toEqual(['a']);
    held.set(c, 0);
    await clock.advance(500);
    expect(gone).toEqual(['a', 'b', 'c']);
  });

  it('is let go when its time has passed, however much is added to it, with one timer for all', async () => {
    const [a, b] = peers('a', 'b');
    held.set(a, 0);
    await clock.advance(600);
    held.set(a, 10);
    held.set(b, 10);
    expect(clock.pending).toBe(1);
    await clock.advance(399);
    expect(gone).toEqual([]);
    await clock.advance(1);
    expect(gone).toEqual(['a']);
    expect(held.bytes).toBe(10);
    await clock.advance(600);
    expect(gone).toEqual(['a', 'b']);
    expect([held.bytes, clock.pending]).toEqual([0, 0]);
  });

  it('is not let go where its time is seen to have passed before what has come by then is read', async () => {
    const due: (() => void)[] = [];
    const schedule = (_: number, fn: () => void) => {
      due.push(fn);
      return { cancel: () => {} };
    };
    held = new Held({ now: () => 0, monotonic: () => clock.monotonic(), schedule }, 1_000, 100);
    const [a] = peers('a');
    held.set(a, 0);
    await clock.advance(1_100);
    due[0]?.();
    held.delete(a);
    await settle();
    expect(gone).toEqual([]);
  });

  it('by many is let go in several turns', async () => {
    const many = Array.from({ length: 250 }, (_, i) => new Peer(`${i}`));
    for (const peer of many) held.set(peer, 0);
    const counts: number[] = [];
    clock.onStep = () => counts.push(gone.length);
    await clock.advance(1_000);
    expect(counts).toEqual([100, 200, 250, 250]);
    expect(gone).toEqual(many.map(({ name }) => name));
    expect(clock.pending).toBe(0);
  });

  it('begins anew when it was nothing in between', async () => {
    const [a] = peers('a');
    held.set(a, 10);
    await clock.advance(999);
    held.delete(a);
    held.set(a, 10);
    await clock.advance(999);
    expect(gone).toEqual([]);
    await clock.advance(1);
    expect(gone).toEqual(['a']);
  });

  it('of too many bytes in all is let go from the oldest on, but for what would free nothing', () => {
    const [a, b, c] = peers('a', 'b', 'c');
    held.set(a, 0);
    held.set(b, 60);
    held.set(c, 40);
    expect(gone).toEqual([]);
    held.set(c, 50);
    expect(gone).toEqual(['b']);
    expect(held.bytes).toBe(50);
  });

  it('may hold something else once it is let go, and leaves no second timer', async () => {
    const again = new Peer('again');
    again.letGo = () => {
      gone.push('again');
      if (gone.length < 3) held.set(again, 1);
    };
    held.set(again, 1);
    await clock.advance(1_000);
    expect([gone.length, clock.pending]).toEqual([1, 1]);
    await clock.advance(2_000);
    expect([gone.length, clock.pending, held.bytes]).toEqual([3, 0, 0]);
  });

  it('may be a few bytes of each of 100,000 that hold their status when they let go', () => {
    const answering = Array.from({ length: 100_000 }, () => {
      const peer = new Peer('one');
      peer.letGo = () => held.set(peer, 0);
      return peer;
    });
    held = new Held(clock, 1_000, answering.length);
    for (const peer of answering) held.set(peer, 1);
    const [large] = peers('large');
    held.set(large, answering.length);
    expect([held.bytes, large.hold?.bytes]).toEqual([answering.length, answering.length]);
    expect(answering.filter(({ hold }) => hold?.bytes !== 0)).toEqual([]);
  });
});
