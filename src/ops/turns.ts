/**
 * A pause for long computations: it resolves when all else that was due has had its turn. Of those that pause at once one goes
 * on at each turn of the event loop, the longest waiting first, so that many together hold up others no longer than one.
 */
export function takingTurns(): () => Promise<void> {
  const waiting: (() => void)[] = [];
  const next = () => {
    waiting.shift()?.();
    if (waiting.length > 0) setImmediate(next);
  };
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 1) setImmediate(next);
    });
}
