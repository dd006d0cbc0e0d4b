// JavaScript, and not TypeScript: for the first TypeScript that its cache lacks, Node loads a compiler, at a tenth of the
// time to `ready`, and the cache is not on before this file turns it on. An older Node reads this file, and nothing more.
import module from 'node:module';

const [major] = process.versions.node.split('.').map(Number);
if (major < 24) {
  process.stderr.write(
    `lingpai: this is Node.js ${process.version}, and Lingpai needs 24 or newer. "npm ci" brings one along: node_modules/.bin/node\n`,
  );
  process.exit(2);
}
const { compileCacheFolder } = await import('./compile-cache.js');
const folder = compileCacheFolder();
if (folder !== undefined) module.enableCompileCache(folder);
const { main } = await import('./main.ts');
await main();
