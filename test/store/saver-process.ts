// A broker's store in a process of its own: it saves ever newer generations of one app and writes each to standard output
// once it is durable, until it is killed.
import { writeSync } from 'node:fs';
import { openAt, record, token } from './support.ts';

const store = openAt(process.argv[2] ?? '');
const [last] = await store.load();
for (let generation = (last?.generation ?? 0) + 1; ; generation++) {
  // The value spans pages, so that a torn record would show.
  await store.save(record({ generation, current: token(`${generation},`.repeat(3000)) }));
  writeSync(1, `${generation}\n`);
}
