// JavaScript, and not TypeScript: for the first TypeScript that its cache lacks, Node loads a compiler, at a tenth of the
// time to `ready`, and the cache is not on before this file turns it on.
import { enableCompileCache } from 'node:module';

enableCompileCache();
await import('./main.ts');
