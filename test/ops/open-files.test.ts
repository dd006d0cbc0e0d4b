import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it('the limit of open files is what the process was given', () => {
  const module = join(import.meta.dirname, '../../src/ops/open-files.ts');
  const script = `import { openFilesLimit } from ${JSON.stringify(module)}; console.log(openFilesLimit());`;
  const command = `ulimit -n 321; exec "$0" --input-type=module -e "$1"`;
  expect(execFileSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' })).toBe('321\n');
});
