import { dirname, resolve } from 'node:path';

/**
 * A path of the command line as an absolute one. npm runs a script in the package's folder, and leaves in INIT_CWD the folder
 * where the command was given, which is the one that the path was meant to start at.
 */
export function givenPath(path: string, { cwd, env = process.env }: { cwd: string; env?: NodeJS.ProcessEnv }): string {
  const { INIT_CWD, npm_package_json } = env;
  // What npm starts inherits both, and may have gone elsewhere since.
  const isMoved = INIT_CWD && npm_package_json && dirname(npm_package_json) === cwd;
  return resolve(isMoved ? INIT_CWD : cwd, path);
}
