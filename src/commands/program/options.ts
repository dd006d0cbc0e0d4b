import { resolve } from 'node:path';
import { Option } from 'commander';
import { givenPath } from '../given-path.ts';
import type { Io } from '../io.ts';

/** The config file that `npm start` looks for. */
export const DEFAULT_CONFIG = 'lingpai.yaml';

/** A flag that names a file. */
export function fileOption(io: Io, flag: string, about: string): Option {
  return new Option(`--${flag} <FILE>`, about).argParser((path: string) => givenPath(path, { cwd: io.cwd() }));
}

/** `--config FILE`. */
export function configOption(io: Io): Option {
  return fileOption(io, 'config', 'the configuration file').default(resolve(io.cwd(), DEFAULT_CONFIG), DEFAULT_CONFIG);
}
