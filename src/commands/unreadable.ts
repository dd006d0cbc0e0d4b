import { Failure } from './exit.ts';

const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist; correct the path',
  ENOTDIR: 'a part of the path is a file and no folder; correct the path',
  EISDIR: 'it is a folder; name a file',
  EACCES: 'this user may not read it; change who may',
};

/** What a command ends with when the file that `flag` names cannot be read: exit code 2. */
export function unreadable(flag: string, path: string, { code = '', message }: NodeJS.ErrnoException): Failure {
  return new Failure(`${flag} ${path} cannot be read: ${ADVICE[code] ?? message}`, 2);
}
