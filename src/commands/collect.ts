import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Frees garbage now. Buffers that outlived a young collection are left lying until far more memory is used than a long
 * run needs, so that without it the peak grows with the length of the run.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  collect ??= runInNewContext('gc') as () => void;
  collect();
}

let collect: (() => void) | undefined;
