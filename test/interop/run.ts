/**
 * Builds the example services and takes each through a service's life beside a live broker, through the rules for
 * clients beside a scripted one, and through keys and certificates beside one that asks for them: `npm run interop`, or `npm run interop -- go java` for some of them.
 *
 * A language whose toolchain is missing is named and left out; with `CI=true` in the environment that is a failure.
 * Exits with 0 when every example that was run passed.
 */
import { access } from './access.ts';
import { build, type Language, languages, missing } from './languages.ts';
import { rules } from './rules.ts';
import { scenario } from './scenario.ts';

interface Result {
  readonly language: string;
  readonly outcome: 'passed' | 'failed' | 'left out';
  /** Seconds; absent for a part that was not reached. */
  readonly build?: number;
  readonly run?: number;
}

const { CI } = process.env;
const strict = CI === 'true';
const results: Result[] = [];
for (const language of chosen(process.argv.slice(2))) results.push(await interop(language));
process.stdout.write(table(results));
const bad = results.some(({ outcome }) => outcome === 'failed' || (strict && outcome === 'left out'));
process.exitCode = bad ? 1 : 0;

async function interop(language: Language): Promise<Result> {
  const { name } = language;
  const lacking = await missing(language);
  if (lacking) {
    say(`${name}: left out, ${lacking}${strict ? ' (a failure, since CI=true)' : ''}`);
    return { language: name, outcome: 'left out' };
  }
  const times: { build?: number; run?: number } = {};
  try {
    say(`${name}: building`);
    times.build = await timed(() => build(language));
    say(`${name}: built in ${times.build.toFixed(1)} s`);
    const report = (step: string) => say(`${name}: ok, ${step}`);
    times.run = await timed(async () => {
      await scenario(language, report);
      await Promise.all([rules(language, report), access(language, report)]);
    });
    return { language: name, outcome: 'passed', ...times };
  } catch (error) {
    say(`${name}: FAILED, ${error instanceof Error ? error.message : String(error)}`);
    return { language: name, outcome: 'failed', ...times };
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function chosen(names: readonly string[]): readonly Language[] {
  const unknown = names.filter((name) => !languages.some((language) => language.name === name));
  if (unknown.length > 0) {
    const known = languages.map(({ name }) => name).join(', ');
    process.stderr.write(`interop: there is no example in ${unknown.join(', ')}: choose from ${known}\n`);
    process.exit(2);
  }
  return languages.filter(({ name }) => names.length === 0 || names.includes(name));
}

function table(rows: readonly Result[]): string {
  const seconds = (value: number | undefined) => (value === undefined ? '-' : `${value.toFixed(1)} s`);
  const lines = rows.map(({ language, outcome, build, run }) => [language, outcome, seconds(build), seconds(run)]);
  const text = [['language', 'outcome', 'build', 'run'], ...lines]
    .map((cells) =>
      cells
        .map((cell) => cell.padEnd(10))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
  const count = (outcome: Result['outcome']) => rows.filter((row) => row.outcome === outcome).length;
  return `\n${text}\n\n${count('passed')} passed, ${count('failed')} failed, ${count('left out')} skipped\n`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
