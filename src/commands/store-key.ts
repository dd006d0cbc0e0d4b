import { Keyring } from '../store/keyring.ts';
import { newKeyText } from '../store/seal-key.ts';
import type { Io } from './io.ts';
import { complain, print } from './output.ts';

/** `lingpai store key`: a new key, alone on standard output; what to do with it on standard error. */
export function storeKey(io: Pick<Io, 'stdout' | 'stderr'>): void {
  const text = newKeyText();
  print(`${text}\n`, io);
  const id = Keyring.parse([text]).sealing;
  complain(
    `key ${id}: keep the line in a file that only the broker reads (chmod 600), and a copy in another place: without it, what it seals is lost\n`,
    io,
  );
}
