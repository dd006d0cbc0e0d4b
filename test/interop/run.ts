/**
 * Builds the example services and takes each through a service's life beside a live broker: those on the client libraries
 * (`go`, `java`, …), and those on stock stubs (`go-stubs`, …), which go through the rules for clients beside a scripted broker
 * too, and through keys and certificates. `npm run interop`, or `npm run interop -- go java-stubs` for some of them.
 */
import { tryForeign } from '../support/foreign.ts';
import { access } from './access.ts';
import { type Language, languages } from './languages.ts';
import { rules } from './rules.ts';
import { scenario } from './scenario.ts';
import { serviceLife } from './service-life.ts';
import { type ServiceExample, services } from './services.ts';

await tryForeign<Language | ServiceExample>(
  {
    name: 'interop',
    // The slowest to build come last: the others are checked meanwhile.
    all: [...languages, ...services],
    atOnce: 3,
    check: async (example, report) => {
      if ('speaks' in example) return serviceLife(example, report);
      await scenario(example, report);
      await Promise.all([rules(example, report), access(example, report)]);
    },
  },
  process.argv.slice(2),
);
