/**
 * Packs each client library as it would be published, installs the package in a fresh folder as a user would, and runs there the
 * program that its README starts with, beside a live broker: `npm run packages`, or `npm run packages -- go java` for some of them.
 * Nothing is published.
 */
import { tryForeign } from '../support/foreign.ts';
import { packages } from './packages.ts';
import { tryPackage } from './try-package.ts';

await tryForeign({ name: 'packages', all: packages, check: tryPackage }, process.argv.slice(2));
