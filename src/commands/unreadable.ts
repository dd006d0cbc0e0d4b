import { whyUnreadable } from '../config/files.ts';
import { Failure } from './exit.ts';

/** What a command ends with when the file that `flag` names cannot be read: exit code 2. */
export function unreadable(flag: string, path: string, error: unknown): Failure {
  return new Failure(`${flag} ${path} cannot be read: it ${whyUnreadable(error)}`, 2);
}
