import { describe, expect, it } from 'vitest';
import { abortable, deadline, withDeadline } from '../../../src/core/kernel/abortable.ts';
import { Condition } from '../../../src/core/kernel/condition.ts';
import { FakeClock } from '../../support/clock.ts';

const left = new Error('left');

describe('abortable', () => {
  it('lets one caller leave, and the others wait on', async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const leaver = new AbortController();
    const [gone, stays] = [abortable(promise, leaver.signal), abortable(promise, undefined)];
    leaver.abort(left);
    await expect(gone).rejects.toBe(left);
    resolve('came');
    expect(await stays).toBe('came');
  });

  it('rejects at once where the caller has left before', async () => {
    await expect(abortable(new Promise(() => {}), AbortSignal.abort(left))).rejects.toBe(left);
  });

  it('hands over what came in the moment in which the caller leaves', async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const leaver = new AbortController();
    const waiting = abortable(promise, leaver.signal, () => false);
    resolve('came');
    leaver.abort(left);
    expect(await waiting).toBe('came');
  });
});

describe('a deadline', () => {
  const parent = new AbortController();

  it('aborts when its time has come, with its reason', async () => {
    const clock = new FakeClock();
    using limit = deadline(clock, 1_000, parent.signal, () => left);
    await clock.advance(999);
    expect(limit.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(limit.signal.reason).toBe(left);
  });

  it('aborts with its parent, also one that has aborted before', () => {
    using limit = deadline(new FakeClock(), 1_000, AbortSignal.abort(left), () => new Error('late'));
    expect(limit.signal.reason).toBe(left);
  });

  it('leaves no timer behind, whatever became of the call', async () => {
    const clock = new FakeClock();
    await withDeadline(clock, 1_000, parent.signal, async () => 'done');
    await expect(withDeadline(clock, 1_000, parent.signal, () => Promise.reject(left))).rejects.toBe(left);
    expect(clock.pending).toBe(0);
  });
});

describe('a condition', () => {
  it('wakes all who wait, once', async () => {
    const condition = new Condition();
    const woken = Promise.all([condition.wait(), condition.wait()]);
    condition.notifyAll();
    await woken;
    const next = condition.wait(AbortSignal.abort(left));
    condition.notifyAll();
    await expect(next).rejects.toBe(left);
  });
});
