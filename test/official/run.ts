/**
 * Runs the official conformance suite of Connect and gRPC against both listeners: `npm run official`. Exits with 0 when
 * nothing fails but what is known to, and that all does. Without Go it is left out; with `CI=true` that is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const MODULE = 'connectrpc.com/conformance';
const VERSION = 'v1.0.7';
const ROOT = join(import.meta.dirname, '../..');
/** Named for its version, so that another one is built anew. */
const BIN = join(ROOT, '.cache/official', VERSION);
const RUNNER = join(BIN, 'connectconformance');
/** Of a run that fails, the end is shown. */
const MOST_SHOWN = 20_000;
const PROTOS = ['service', 'server_compat', 'config'].map((name) => `connectrpc/conformance/v1/${name}.proto`);

const { CI } = process.env;
if (spawnSync('go', ['version']).status !== 0) {
  process.stderr.write(
    `official: left out, for there is no Go here${CI === 'true' ? ' (a failure, since CI=true)' : ''}\n`,
  );
  process.exit(CI === 'true' ? 1 : 0);
}
if (process.argv.includes('--generate')) generate();
else {
  if (!existsSync(RUNNER)) run('go', ['install', `${MODULE}/cmd/connectconformance@${VERSION}`], { GOBIN: BIN });
  const failed = ['grpc', 'http'].filter((listener) => !passes(listener));
  if (failed.length > 0) process.stderr.write(`official: FAILED: ${failed.join(', ')}\n`);
  process.exitCode = failed.length > 0 ? 1 : 0;
}

function passes(listener: string): boolean {
  process.stdout.write(`official: ${listener}\n`);
  const suite = ['--mode', 'server', '--conf', `${listener}.yaml`, '--known-failing', `@${listener}-failing.txt`];
  const server = [process.execPath, '--disable-warning=ExperimentalWarning', 'server.ts', listener];
  const { status, stdout, stderr } = spawnSync(RUNNER, [...suite, '--', ...server], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  // Each known failure is told of at length: what else failed, and the count at the end, are enough.
  const failed = stdout.split(/^(?=FAILED: |INFO: |Total cases: )/m).filter((part) => !part.startsWith('INFO: '));
  process.stdout.write(`${failed.join('').slice(-MOST_SHOWN)}${status === 0 ? '' : stderr.slice(-MOST_SHOWN)}`);
  return status === 0;
}

function generate(): void {
  const { stdout } = spawnSync('go', ['mod', 'download', '-json', `${MODULE}@${VERSION}`], { encoding: 'utf8' });
  const protos = join((JSON.parse(stdout) as { Dir: string }).Dir, 'proto');
  const paths = PROTOS.flatMap((path) => ['--path', join(protos, path)]);
  run('buf', ['generate', protos, '--template', 'test/official/buf.gen.yaml', ...paths], {});
}

function run(command: string, args: readonly string[], env: Record<string, string>): void {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}
