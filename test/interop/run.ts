/**
 * Builds the example services and takes each through a service's life beside a live broker, through the rules for clients
 * beside a scripted one, and through keys and certificates beside one that asks for them: `npm run interop`, or
 * `npm run interop -- go java` for some of them.
 */
import { tryForeign } from '../support/foreign.ts';
import { access } from './access.ts';
import { languages } from './languages.ts';
import { rules } from './rules.ts';
import { scenario } from './scenario.ts';

await tryForeign(
  {
    name: 'interop',
    all: languages,
    check: async (language, report) => {
      await scenario(language, report);
      await Promise.all([rules(language, report), access(language, report)]);
    },
  },
  process.argv.slice(2),
);
