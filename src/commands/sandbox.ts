import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { parseListen } from '../config/listen.ts';
import { systemClock } from '../ops/clock.ts';
import { createLogger } from '../ops/log.ts';
import { systemRandom } from '../ops/random.ts';
import { makeCertificate } from '../sandbox/certificate.ts';
import { startSandbox } from '../sandbox/server.ts';
import { Failure, untilSignal } from './exit.ts';

/** The flags of `lingpai sandbox`. */
export interface SandboxFlags {
  readonly listen: string;
  readonly tls?: true;
  /** Files of PEM. */
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

/** `lingpai sandbox`: a simulated WeChat, until a signal ends it. */
export async function sandbox(options: SandboxFlags): Promise<void> {
  const logger = createLogger({ level: 'info' });
  const listen = listenOf('--listen', options.listen);
  await using undo = new AsyncDisposableStack();
  const tls = await tlsOf(options, listen.host, undo);
  const running = await startSandbox({
    listen,
    ...(tls && { tls }),
    clock: systemClock,
    random: systemRandom,
    apps: [],
    anyApp: true,
    log: ({ kind, appId, errcode, tokenId, minted, fault }) =>
      logger.info({ call: kind, app_id: appId, errcode, token_id: tokenId, minted, fault }, 'call'),
  }).catch((error: Error) => {
    throw new Failure(error.message);
  });
  const stopped = untilSignal(() => running.close());
  logger.info({ url: running.url, ...(tls?.caFile && { ca_file: tls.caFile }) }, 'ready');
  await stopped;
}

/** The certificate to show: that of the files, or one that is made, of which the authority's is written to a file while the sandbox runs. */
async function tlsOf(
  { tls, tlsCert, tlsKey }: SandboxFlags,
  host: string,
  undo: AsyncDisposableStack,
): Promise<{ cert: string; key: string; caFile?: string } | undefined> {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new Failure('--tls-cert and --tls-key: give both, a certificate and its key as PEM files', 2);
  if (tlsCert !== undefined && tlsKey !== undefined) {
    const [cert, key] = [await pemOf('--tls-cert', tlsCert), await pemOf('--tls-key', tlsKey)];
    try {
      createSecureContext({ cert, key });
    } catch (error) {
      throw new Failure(
        `--tls-cert and --tls-key: ${(error as Error).message}; give a certificate and its key as PEM`,
        2,
      );
    }
    return { cert, key };
  }
  if (!tls) return undefined;
  const names = new Set(['api.weixin.qq.com', 'localhost', '127.0.0.1', '::1', ...(isIP(host) ? [host] : [])]);
  const { cert, key, ca } = makeCertificate([...names], systemClock.now());
  const folder = await mkdtemp(join(tmpdir(), 'lingpai-sandbox-'));
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const caFile = join(folder, 'ca.pem');
  await writeFile(caFile, ca);
  return { cert, key, caFile };
}

async function pemOf(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Failure(`${flag} ${path}: ${(error as Error).message}`, 2);
  }
}

/** A flag's address. */
export function listenOf(flag: string, text: string): { host: string; port: number } {
  const listen = parseListen(text);
  if (!listen) throw new Failure(`${flag} ${text}: write HOST:PORT, such as 127.0.0.1:0`, 2);
  return listen;
}
