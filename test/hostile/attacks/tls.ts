import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { issue } from '../../support/certificates.ts';
import { until } from '../../support/until.ts';
import type { Attack, Scene } from '../attack.ts';
import { handshake, Wire } from '../strangers.ts';

const SETTINGS = { tls: { cert: 'cert.pem', key: 'key.pem', client_ca: 'clients.pem' } };
const clientCa = issue({ name: 'clients', isCa: true });

/** Writes the files that SETTINGS name. */
async function fill(_: string, folder: string): Promise<void> {
  const { cert, key } = issue({ name: 'broker', names: ['dns:localhost', 'ip:127.0.0.1'] });
  await writeFile(join(folder, 'cert.pem'), cert, { mode: 0o600 });
  await writeFile(join(folder, 'key.pem'), key, { mode: 0o600 });
  await writeFile(join(folder, 'clients.pem'), clientCa.cert, { mode: 0o600 });
}

/** More than a listener has under way at once. */
const SILENT = 300;
const GARBAGE = 1_000;
const AT_ONCE = 100;
/** A handshake may take 10 s. */
const ENDED_MS = 15_000;
const FLOOD_MS = 3_000;
const LOOPS = 20;
const CHAINS = 100;
const RENEGOTIATIONS = 500;
const REFUSED_MS = 200;
/** OpenSSL takes chains up to 100 KiB. */
const FITS_BYTES = 60_000;
const TOO_LARGE_BYTES = 120_000;
/** A record of a handshake of 512 bytes, of which five have come. */
const BEGUN = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3]);
const JUNK = [
  Buffer.from('GET /lingpai.v1.TokenService/Get HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.alloc(16_384, 0xff),
  Buffer.concat([Buffer.from([22, 3, 1, 64, 0]), Buffer.alloc(16_384)]),
  Buffer.from([21, 3, 3, 0, 2, 2, 40]),
];

async function ended(wires: readonly Wire[], check: Scene['check'], words: string): Promise<void> {
  const open = () => wires.filter((wire) => wire.open).length;
  await until(ENDED_MS, () => (open() === 0 ? undefined : 'each is ended')).catch(() => {});
  check(open() === 0, `${words} is ended: ${open()} of ${wires.length} are not`);
}

/** Connections that are to be TLS, and handshakes. */
export const tls: readonly Attack[] = [
  {
    name: 'tls: 300 connections to each port that begin no handshake, or half',
    // So many that handshakes are the bound, and not connections.
    files: 4_096,
    settings: SETTINGS,
    fill,
    async play({ grpc, http, held, check }) {
      const wires: Wire[] = [];
      for (const address of [grpc, http]) {
        for (let i = 0; i < SILENT; i++) {
          const wire = await held.use(new Wire(address, `127.0.0.${2 + (i % 4)}`).read()).settled();
          if (i % 2) void wire.write(BEGUN);
          wires.push(wire);
        }
      }
      await ended(wires, check, 'a handshake that is not finished');
    },
  },
  {
    name: 'tls: 1,000 connections with garbage before the handshake',
    settings: SETTINGS,
    fill,
    async play({ grpc, http, held, check }) {
      for (const address of [grpc, http]) {
        for (let i = 0; i < GARBAGE / 2; i += AT_ONCE) {
          const wires = Array.from({ length: AT_ONCE }, () => held.use(new Wire(address).read()));
          await Promise.all(wires.map((wire) => wire.settled()));
          for (const [j, wire] of wires.entries()) void wire.write(JUNK[j % JUNK.length] ?? '');
          await ended(wires, check, 'a connection that begins with garbage');
        }
      }
    },
  },
  {
    name: 'tls: handshakes one after the other, 20 at once',
    settings: SETTINGS,
    fill,
    async play({ grpc, http, check }) {
      const end = performance.now() + FLOOD_MS;
      let done = 0;
      const loop = async (address: string) => {
        while (performance.now() < end) {
          const socket = await handshake(address);
          if (socket) done++;
          socket?.destroy();
        }
      };
      await Promise.all(Array.from({ length: LOOPS }, (_, i) => loop(i % 2 ? grpc : http)));
      check(done > 0, 'some are done');
    },
  },
  {
    name: 'tls: client certificates of 60 KB and of 120 KB, that nobody signed',
    settings: SETTINGS,
    fill,
    async play({ grpc, http, held, check }) {
      const fits = issue({ name: 'large', padding: FITS_BYTES });
      const large = issue({ name: 'larger', padding: TOO_LARGE_BYTES });
      // What comes of it is read to the end: by TLS 1.3 the client is done before its certificate is looked at.
      const shows = async (address: string, certificate: typeof fits) => {
        const socket = await handshake(address, { ...certificate, maxVersion: 'TLSv1.2' });
        held.defer(() => void socket?.destroy());
        return socket !== undefined;
      };
      for (const address of [grpc, http]) {
        const taken = await Promise.all(Array.from({ length: CHAINS }, () => shows(address, fits)));
        check(taken.every(Boolean), 'one that fits is taken, and is nobody');
        const refused = await Promise.all(Array.from({ length: CHAINS }, () => shows(address, large)));
        check(!refused.some(Boolean), 'one that is too large is not');
      }
    },
  },
  {
    name: 'tls: 500 renegotiations of TLS 1.2 on 20 connections',
    settings: SETTINGS,
    fill,
    async play({ grpc, http, held, check }) {
      let renewed = 0;
      const loop = async (address: string) => {
        const socket = await handshake(address, { maxVersion: 'TLSv1.2' });
        if (!socket) return;
        socket.setMaxListeners(0);
        held.defer(() => void socket.destroy());
        for (let i = 0; i < RENEGOTIATIONS / LOOPS && !socket.destroyed; i++) {
          const { promise, resolve } = Promise.withResolvers<boolean>();
          // A refusal is a warning, of which OpenSSL's client tells nobody.
          const waiting = setTimeout(resolve, REFUSED_MS, false);
          socket.once('close', () => resolve(false));
          const asked = socket.renegotiate({}, (error) => resolve(error === null));
          if (asked === false) resolve(false);
          if (await promise) renewed++;
          clearTimeout(waiting);
        }
      };
      await Promise.all(Array.from({ length: LOOPS }, (_, i) => loop(i % 2 ? grpc : http)));
      check(renewed === 0, `none is done: ${renewed} are`);
    },
  },
];
