/**
 * Gives the client libraries the names under which they are published: a Go module path is where its repository is, a Maven group
 * is a domain of the publisher, an npm scope is an account's.
 *
 *     node clients/rename.ts --go github.com/acme/lingpai/clients/go --maven com.acme --npm @acme/lingpai
 *
 * It writes them into every file of the repository that has one, names.json included; run it again to change them again. The
 * Python package and the Rust crate are called `lingpai` wherever they are published.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** A name for each kind of package. */
export interface Names {
  readonly go: string;
  readonly maven: string;
  readonly npm: string;
}

/** What a name of each kind may be. */
const shapes: Readonly<Record<keyof Names, RegExp>> = {
  go: /^[a-z0-9][a-z0-9.-]*\.[a-z]+(\/[A-Za-z0-9._~-]+)+$/,
  maven: /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$/,
  npm: /^(@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/,
};

/** The text of a file with the new names in place of the old. */
export function renamed(text: string, from: Names, to: Names): string {
  return text
    .replaceAll(whole(from.go), to.go)
    .replaceAll(whole(from.npm), to.npm)
    .replaceAll(`<groupId>${from.maven}</groupId>`, `<groupId>${to.maven}</groupId>`)
    .replaceAll(`"maven": "${from.maven}"`, `"maven": "${to.maven}"`);
}

/** A name that is not a part of a longer one; what stands below it in its tree is renamed with it. */
function whole(name: string): RegExp {
  return new RegExp(`(?<![\\w.@/-])${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w-])`, 'g');
}

/** Reads the names that the command line gives. Throws an Error that says what is wrong and what to write. */
export function chosen(args: readonly string[], now: Names): Names {
  const { values } = parseArgs({
    args: [...args],
    options: { go: { type: 'string' }, maven: { type: 'string' }, npm: { type: 'string' } },
  });
  const to = { ...now, ...values };
  for (const [kind, shape] of Object.entries(shapes)) {
    const name = to[kind as keyof Names];
    if (!shape.test(name))
      throw new Error(`--${kind} ${name} is no such name: write one like ${now[kind as keyof Names]}`);
  }
  return to;
}

/** The files of a repository, by their paths. */
export function filesOf(root: string): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  return String(listed)
    .split('\0')
    .filter((path) => path !== '');
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  const from: Names = JSON.parse(readFileSync(join(import.meta.dirname, 'names.json'), 'utf8'));
  try {
    const to = chosen(process.argv.slice(2), from);
    for (const path of filesOf(root)) {
      const text = readFileSync(join(root, path), 'utf8');
      const after = renamed(text, from, to);
      if (after === text) continue;
      writeFileSync(join(root, path), after);
      process.stdout.write(`${path}\n`);
    }
  } catch (error) {
    process.stderr.write(`rename: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 2;
  }
}
