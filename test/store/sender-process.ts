// A broker's ledger in a process of its own, which kills itself at a named point. It writes what was acknowledged to
// standard output, a line each: by then it is durable.
import { writeSync } from 'node:fs';
import { openDatabase } from '../../src/store/database.ts';
import { storeIn } from '../../src/store/open.ts';
import { FORM, permitOf, SENT, send, settlement } from './ledger-support.ts';

const [, , path = '', point = ''] = process.argv;
const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  // The signal is on its way; nothing may happen before it.
  for (;;);
};
const db = openDatabase(path);
const { ledger } = storeIn(db, path);

/** Dies within the transaction, after this statement and before the commit. */
function dieAfter(statement: string): void {
  db.function('die', die);
  db.exec(`CREATE TEMP TRIGGER die AFTER ${statement} BEGIN SELECT die(); END`);
}

if (point === 'in the transaction of begin') dieAfter('INSERT ON sends');
const first = send({ sendId: 'first', key: 'first', permit: FORM });
const beginning = ledger.begin(first);
if (point === 'before the commit of begin') die();
writeSync(1, `begun ${permitOf(await beginning)?.value}\n`);
if (point === 'after begin') die();

if (point === 'in the transaction of settle') dieAfter('UPDATE OF outcome ON sends');
const settling = ledger.settle('first', settlement(SENT));
if (point === 'before the commit of settle') die();
await settling;
writeSync(1, 'settled\n');
if (point === 'after settle') die();

// Sends until it is killed from outside, eight at a time.
let next = 0;
await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (;;) {
      const key = `key-${next++}`;
      const one = send({ sendId: key, key, permit: FORM });
      writeSync(1, `begun ${key} ${permitOf(await ledger.begin(one))?.value}\n`);
      await ledger.settle(key, settlement(SENT));
      writeSync(1, `settled ${key}\n`);
    }
  }),
);
