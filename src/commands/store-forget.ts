import { existsSync } from 'node:fs';
import { forgetSealed, type SealedApp } from '../app/forget-sealed.ts';
import { parseStoreUrl } from '../store/open.ts';
import { confirm } from './confirm.ts';
import { Failure } from './exit.ts';
import type { Io } from './io.ts';
import { asLines, complain, jsonLine, print } from './output.ts';
import { readConfig } from './serve.ts';
import { nameOf, waitText } from './store-copy.ts';

/** `lingpai store forget --sealed`: the way out where a key is lost. */
export async function storeForget(
  options: { config: string; sealed?: boolean; yes?: boolean; json?: boolean },
  io: Io,
): Promise<void> {
  if (!options.sealed)
    throw new Failure('say what to forget: --sealed, the records that no key of store.seal opens', 2);
  const config = await readConfig(options.config);
  const url = parseStoreUrl(config.store.url);
  if ('error' in url) throw new Failure(`store.url: ${url.error}`, 2);
  if (url.kind === 'memory') throw new Failure('store.url: "memory:" is empty whenever it is opened', 2);
  if (url.kind === 'sqlite' && !existsSync(url.path)) throw new Failure(`store.url: there is no file ${url.path}`);
  const confirmed = async (apps: readonly SealedApp[]): Promise<boolean> => {
    complain(`${asLines(apps.map(lineOf))}${costOf(apps)}\n`, io);
    await confirm('Remove these records?', 'nothing was removed', options.yes, io);
    return true;
  };
  const onWait = (name: string, ms: number) => complain(waitText(name, ms), io);
  const forgotten = await forgetSealed(config, { name: nameOf(url), confirm: confirmed, onWait }).catch(
    (error: unknown) => {
      throw error instanceof Failure ? error : new Failure(error instanceof Error ? error.message : String(error));
    },
  );
  const count = forgotten.length;
  if (options.json) print(jsonLine({ forgotten }), io);
  else print(count === 0 ? 'no record is sealed by a key that is not held\n' : `${count} removed\n`, io);
}

function lineOf({ appId, issuer }: SealedApp): string {
  return `${appId}  ${issuer ?? 'not configured'}`;
}

function costOf(apps: readonly SealedApp[]): string {
  const mints = apps.filter(({ issuer }) => issuer === 'classic').length;
  return `No key of store.seal opens these records. Without them the broker asks WeChat anew: ${mints} ${mints === 1 ? 'mint' : 'mints'}, one for each classic app, whose token of now lives on for upstream.overlap; a stable app's token is read. Budgets begin at 0.`;
}
