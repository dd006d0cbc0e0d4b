import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';

/**
 * The folder of Node's compile cache, made where there is none; undefined where none can be trusted. Node runs what lies in it
 * and asks nobody who put it there, and without a folder it takes one in the shared temporary folder. So it is one of this
 * user's that nobody else may enter, on a path that nobody else may change.
 *
 * @param {{ env: NodeJS.ProcessEnv, home: string, uid: number | undefined }} who by default this process
 * @returns {string | undefined}
 */
export function compileCacheFolder(who = { env: process.env, home: homedir(), uid: process.getuid?.() }) {
  const { XDG_CACHE_HOME: cache = '' } = who.env;
  const parent = isAbsolute(cache) ? cache : join(who.home, '.cache');
  try {
    make(parent);
    const folder = join(realpathSync(parent), 'lingpai');
    make(folder);
    const found = lstatSync(folder);
    // A link is no folder here.
    const isPrivate = found.isDirectory() && found.uid === who.uid && (found.mode & 0o777) === 0o700;
    return isPrivate && isOurs(dirname(folder), found.uid) ? folder : undefined;
  } catch {
    return undefined;
  }
}

function make(folder) {
  try {
    // Not with its parents: who has no home needs no cache, and below /proc Node would try for ever.
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
}

/** Whether only this user and root may put another folder in place of what is in this one, or of one above it. */
function isOurs(folder, me) {
  const { mode, uid } = lstatSync(folder);
  const isSticky = (mode & 0o1000) !== 0;
  if ((uid !== me && uid !== 0) || ((mode & 0o022) !== 0 && !isSticky)) return false;
  return dirname(folder) === folder || isOurs(dirname(folder), me);
}
