import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { appId, Lab } from '../interop/lab.ts';
import { blocks } from '../support/documents.ts';
import { type Report, runStep } from '../support/foreign.ts';
import type { Package } from './packages.ts';

/** The longest that one command may take, in milliseconds: a first build of Rust's dependencies. */
const timeout = 10 * 60_000;

/** Packs a library, installs it in fresh folders, and runs its README's program there. Rejects with the first thing that is wrong. */
export async function tryPackage(each: Package, report: Report): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'lingpai-packages-'));
  try {
    await using lab = await Lab.start();
    await lab.broker();
    const { current } = await lab.state();
    const packed = join(folder, 'packed');
    await mkdir(packed);
    for (const command of each.pack?.(packed) ?? []) await runStep(each.name, command, { cwd: each.folder, timeout });
    const program = (await programOf(each, lab.addresses[each.speaks])).replaceAll(
      'https://api.weixin.qq.com',
      lab.wechatUrl,
    );
    for (const [name, way] of Object.entries(each.ways)) {
      const fresh = join(folder, name.replaceAll(' ', '-'));
      for (const [file, text] of Object.entries({ ...each.files?.(packed), [each.program[1]]: program })) {
        await mkdir(dirname(join(fresh, file)), { recursive: true });
        await writeFile(join(fresh, file), text);
      }
      let printed = '';
      for (const command of way(packed)) printed = await runStep(each.name, command, { cwd: fresh, timeout });
      assert.ok(current && printed.includes(current.id), `the program printed no token's id: ${printed}`);
      assert.ok(!lab.holdsSecret(printed), 'the program printed a token value');
      report(`installed by ${name} in a fresh folder; its README's program holds the broker's token`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The program that the README starts with, for this broker and its app. */
async function programOf({ folder, program: [language], speaks }: Package, address: string): Promise<string> {
  const [program] = blocks(await readFile(join(folder, 'README.md'), 'utf8'), language);
  assert.ok(program, `the README has a block of ${language}`);
  const shown = speaks === 'grpc' ? '127.0.0.1:7600' : '127.0.0.1:7680';
  assert.ok(program.includes(shown), `the README's program asks the broker at ${shown}`);
  const app = /(?<=["'])wx[0-9a-z]+(?=["'])/g;
  assert.match(program, app, 'it names an app');
  return program.replaceAll(shown, address).replaceAll(app, appId);
}
