import type { Target } from './target.ts';
import { answers } from './targets/answers.ts';
import { config } from './targets/config.ts';
import { credentials } from './targets/credentials.ts';
import { frames } from './targets/frames.ts';
import { requests } from './targets/requests.ts';
import { files, records } from './targets/store.ts';

/** Everything that takes what others send. */
export const TARGETS: readonly Target[] = [frames, requests, config, credentials, answers, records, files];
