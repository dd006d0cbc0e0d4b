import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'The names of a client certificate are looked for in the text that the runtime makes of them. Whoever may choose a DNS ' +
    'name for a certificate writes "a.b, URI:spiffe://..." there, and is anybody.',
  edits: [
    {
      file: 'src/access/certificate.ts',
      find: 'const name = sanOf(certificate.raw);',
      replace:
        "const name = /URI:(spiffe:[^,\"]+)/.exec(certificate.subjectAltName ?? '')?.[1] ?? sanOf(certificate.raw);",
    },
  ],
  caughtBy: {
    file: 'test/access/certificate.test.ts',
    test: 'is not said by a certificate with a name that looks like two, which is presented all the same',
  },
};
