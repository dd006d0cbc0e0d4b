import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { complain } from './output.ts';

/** Throws unless somebody can be asked at this terminal, or need not be (`yes`). */
export function requireAnswerable(yes: boolean | undefined, { stdin }: Pick<Io, 'stdin'>): void {
  if (!yes && !stdin.isTTY) throw new Failure('nobody can be asked here, since this is no terminal: give --yes', 2);
}

/** Asks a question, unless it is answered already (`yes`). Throws where the answer is not yes; `otherwise` says what was not done. */
export async function confirm(question: string, otherwise: string, yes: boolean | undefined, io: Io): Promise<void> {
  if (yes) return;
  complain(`${question} Type yes and Enter: `, io);
  if ((await lineOfInput(io)).trim() === 'yes') return;
  throw new Failure(`${otherwise}: it was not answered with yes (or give --yes)`);
}

/** The first line of standard input. */
async function lineOfInput({ stdin }: Io): Promise<string> {
  let text = '';
  for await (const chunk of stdin) {
    text += chunk.toString();
    if (text.includes('\n') || text.length > 100) break;
  }
  return text.split('\n', 1)[0] ?? '';
}
