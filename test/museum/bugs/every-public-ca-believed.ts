import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'Where no CA of client certificates is configured, none is handed to TLS, which then believes the public ones. Whoever has a certificate for any name on the internet is an identity.',
  edits: [
    {
      file: 'src/server/tls.ts',
      find: "ca: clientCa === null ? [] : certificatesIn(clientCa, 'the client CA file').map(String),",
      replace: "...(clientCa !== null && { ca: certificatesIn(clientCa, 'the client CA file').map(String) }),",
    },
    {
      file: 'src/server/tls.ts',
      find: '    requestCert: tls.clientCa !== null,\n    rejectUnauthorized',
      replace: '    requestCert: true,\n    rejectUnauthorized',
    },
  ],
  caughtBy: {
    file: 'test/server/tls.test.ts',
    test: 'believes no certificate of another CA, and no public one where no client CA is named',
  },
};
