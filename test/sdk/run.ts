/**
 * Installs real, unmodified SDKs of WeChat by their lock files, and has each of them call a simulated WeChat through the gateway:
 * `npm run sdk`, or `npm run sdk -- wechatpy silenceper` for some of them. Needs Linux, where the memory of a process can be searched.
 */
import { tryForeign } from '../support/foreign.ts';
import { scenario } from './scenario.ts';
import { sdks } from './sdks.ts';

if (process.platform !== 'linux') {
  process.stderr.write('sdk: needs Linux, where the memory of another process can be searched\n');
  process.exit(2);
}
await tryForeign({ name: 'sdk', all: sdks, check: scenario }, process.argv.slice(2));
