import { constants, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Server, Socket } from 'node:net';
import {
  createSecureContext,
  type DetailedPeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
  type Server as TlsServer,
} from 'node:tls';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import { certificateBlocks } from '../core/kernel/pem.ts';
import { peerName } from '../transport/peer.ts';
import type { Connection, Connections } from './connections.ts';

/** What a listener serves TLS with, as PEM. */
export interface Tls {
  /** The certificate, and those between it and its root. */
  readonly cert: string;
  readonly key: string;
  /** Who signs client certificates that are identities; presenting one stays optional. Null: none is asked for. */
  readonly clientCa: string | null;
}

/** How long a handshake may take. */
const HANDSHAKE_MS = 10_000;
/**
 * Handshakes that are not finished; one more, and the oldest of the address that has most is ended: others are not to wait for
 * nothing. Each takes some 50 KB.
 */
const MAX_HANDSHAKES = 256;
/** How often it is looked whose certificate has expired. */
const LOOK_MS = 1_000;

/**
 * For `createServer` of node:tls and node:https. A client certificate is asked for and not demanded. Nothing is resumed: a
 * resumed session would keep a certificate authorized that has expired since.
 */
export function serverOptions(tls: Tls, protocol: 'h2' | 'http/1.1'): TlsOptions {
  return {
    ...contextOf(tls),
    ALPNProtocols: [protocol],
    requestCert: tls.clientCa !== null,
    rejectUnauthorized: false,
  };
}

/** Throws an Error that says what cannot be used: files that do not belong together, or that were read half-written. */
export function contextOf({ cert, key, clientCa }: Tls): SecureContextOptions {
  const chain = certificatesIn(cert, 'the certificate file');
  if (!chain[0]?.checkPrivateKey(privateKeyOf(key))) throw new Error('the key is not that of the certificate');
  const options: SecureContextOptions = {
    cert: chain.join(''),
    key,
    // Where it is missing, Node would believe every public CA. It skips in silence what it cannot read, so it is read before.
    ca: clientCa === null ? [] : certificatesIn(clientCa, 'the client CA file').map(String),
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
  // Also what only OpenSSL objects to, such as a key that is too short.
  createSecureContext(options);
  return options;
}

/** When a certificate, the first of a chain in PEM, expires: wall-clock milliseconds since 1970. */
export function expiryOf(cert: string): number {
  return new X509Certificate(cert).validToDate.getTime();
}

function certificatesIn(pem: string, file: string): X509Certificate[] {
  const { blocks, isCut } = certificateBlocks(pem);
  const isWrong = `${file} has something in it that is no whole certificate in PEM`;
  if (isCut) throw new Error(isWrong);
  if (blocks.length === 0) throw new Error(`${file} has no certificate in PEM`);
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new Error(isWrong, { cause: error });
    }
  });
}

function privateKeyOf(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new Error('the key file has no whole private key in PEM, or one with a passphrase', { cause: error });
  }
}

/**
 * Has `come` called for each connection that may be used: at once, or when its handshake is done. What it returns ends the
 * connection without harm to what is under way; it is called when there is nothing to do, or when a client certificate is
 * good no more.
 */
export function letIn(
  server: Server,
  connections: Connections,
  come: (socket: Socket, admitted: Connection) => (() => void) | undefined,
  handshakes?: Handshakes,
): void {
  server.on('connection', (raw) => {
    let end: () => void = () => raw.destroy();
    const admitted = connections.admit(raw, () => end());
    if (!admitted) return;
    const enter = (socket: Socket) => {
      const close = come(socket, admitted);
      if (close) end = close;
      return close ?? (() => admitted.retire());
    };
    if (handshakes) handshakes.begin(raw, enter);
    else enter(raw);
  });
}

/** Of a listener. Throws an Error also where it was started without TLS. */
export function takeTls(handshakes: Handshakes | undefined, tls: Tls): void {
  if (!handshakes) throw new Error('the listener was started without TLS: restart the broker');
  handshakes.use(tls);
}

/** The TCP connections below. */
const BELOW = new WeakMap<Socket, Socket>();

/** Ends a connection and frees at once what waits to be sent, which its peer may never read. */
export function reset(socket: Socket): void {
  (BELOW.get(socket) ?? socket).resetAndDestroy();
}

/** A connection whose handshake is under way. */
interface Handshake {
  readonly ends: string;
  /** The address at its other end. */
  readonly peer: string;
  readonly raw: Socket;
  readonly timer: Timer;
  readonly enter: (socket: TLSSocket) => () => void;
}

/** A connection with a client certificate. */
interface Identified {
  readonly expiresAt: number;
  /** The fingerprints of the client CAs that stand in its chain; empty: nobody can tell, and it is good as long as none goes. */
  readonly by: ReadonlySet<string>;
  readonly retire: () => void;
}

/** TLS of one listener: handshakes, and the client certificates of those that are done. */
export class Handshakes {
  readonly #server: TlsServer;
  readonly #clock: Clock;
  /** By the two ends of the connection, the oldest first: node:tls does not say which TCP connection a TLSSocket is on. */
  readonly #underWay = new Map<string, Handshake>();
  readonly #identified = new Map<TLSSocket, Identified>();
  #tls: Tls;
  #looking: Timer | undefined;

  /** `server` was made with `serverOptions(tls)`. */
  constructor(server: TlsServer, tls: Tls, clock: Clock) {
    this.#server = server;
    this.#tls = tls;
    this.#clock = clock;
    server.on('secureConnection', (socket) => this.#done(socket));
  }

  /** A TCP connection has come, and `server` begins the handshake. What goes wrong with it ends this connection alone. */
  begin(raw: Socket, enter: Handshake['enter']): void {
    const ends = endsOf(raw);
    if (ends === undefined) {
      raw.destroy();
      return;
    }
    if (this.#underWay.size >= MAX_HANDSHAKES) this.#makeRoom();
    const timer = this.#clock.schedule(HANDSHAKE_MS, () => this.#end(handshake));
    const handshake: Handshake = { ends, peer: peerName(raw), raw, timer, enter };
    this.#underWay.set(ends, handshake);
    raw.once('close', () => this.#forget(handshake));
  }

  /**
   * Serves connections to come with another certificate, or other client CAs; those that are open go on. A client whose
   * CA is no longer among them is not `authorized` any more from then on, and its connection ends when what is under way has.
   * A handshake that was begun with a CA that goes is ended: it would still be good by it.
   * Throws an Error that says what cannot be used, and goes on with what it has.
   */
  use(tls: Tls): void {
    const context = contextOf(tls);
    const before = this.#tls.clientCa;
    this.#tls = tls;
    this.#server.setSecureContext(context);
    // Read at each connection, and set in no other way once there is a server.
    Object.assign(this.#server, { requestCert: tls.clientCa !== null });
    if (before === null || before === tls.clientCa) return;
    const now = new Set(fingerprintsOf(tls.clientCa));
    const gone = fingerprintsOf(before).filter((one) => !now.has(one));
    if (gone.length === 0) return;
    for (const handshake of this.#underWay.values()) this.#end(handshake);
    this.#distrust(gone);
  }

  /** Ends the handshakes that are under way. */
  stop(): void {
    this.#looking?.cancel();
    for (const handshake of this.#underWay.values()) this.#end(handshake);
  }

  #done(socket: TLSSocket): void {
    // Who uses it listens too; what comes before or after is nobody's affair, and would end the process.
    socket.on('error', () => {});
    const handshake = this.#underWay.get(endsOf(socket) ?? '');
    if (!handshake) {
      socket.destroy();
      return;
    }
    this.#forget(handshake);
    BELOW.set(socket, handshake.raw);
    const retire = handshake.enter(socket);
    if (socket.authorized) this.#identify(socket, retire);
  }

  #identify(socket: TLSSocket, retire: () => void): void {
    const expiresAt = socket.getPeerX509Certificate()?.validToDate.getTime() ?? 0;
    const by = authoritiesOf(socket, new Set(fingerprintsOf(this.#tls.clientCa)));
    this.#identified.set(socket, { expiresAt, by, retire });
    socket.once('close', () => this.#identified.delete(socket));
    this.#looking ??= this.#clock.schedule(LOOK_MS, () => this.#look());
  }

  /** A client renews its certificate, and can show the new one only on a new connection. */
  #look(): void {
    const now = this.#clock.now();
    for (const [socket, { expiresAt, retire }] of this.#identified) {
      if (expiresAt >= now) continue;
      this.#identified.delete(socket);
      retire();
    }
    this.#looking = this.#identified.size > 0 ? this.#clock.schedule(LOOK_MS, () => this.#look()) : undefined;
  }

  #distrust(gone: readonly string[]): void {
    for (const [socket, { by, retire }] of this.#identified) {
      if (by.size > 0 && !gone.some((one) => by.has(one))) continue;
      socket.authorized = false;
      this.#identified.delete(socket);
      retire();
    }
  }

  #makeRoom(): void {
    const oldest = new Map<string, { readonly handshake: Handshake; count: number }>();
    for (const handshake of this.#underWay.values()) {
      const found = oldest.get(handshake.peer);
      if (found) found.count++;
      else oldest.set(handshake.peer, { handshake, count: 1 });
    }
    let most: { readonly handshake: Handshake; readonly count: number } | undefined;
    for (const found of oldest.values()) if (found.count > (most?.count ?? 0)) most = found;
    if (most) this.#end(most.handshake);
  }

  #end(handshake: Handshake): void {
    this.#forget(handshake);
    handshake.raw.resetAndDestroy();
  }

  #forget(handshake: Handshake): void {
    handshake.timer.cancel();
    // Another between the same ends may have come since.
    if (this.#underWay.get(handshake.ends) === handshake) this.#underWay.delete(handshake.ends);
  }
}

/** Undefined: it is closed. */
function endsOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}

function fingerprintsOf(pem: string | null): string[] {
  return pem === null ? [] : certificatesIn(pem, 'the client CA file').map(({ fingerprint256 }) => fingerprint256);
}

/**
 * Which of the client CAs stand in the chain of a client's certificate; none where that cannot be told: Node does not show the
 * certificates in between that a client sends, so that the chain ends there unless the client CAs have them too.
 */
function authoritiesOf(socket: TLSSocket, trusted: ReadonlySet<string>): ReadonlySet<string> {
  if (trusted.size === 1) return trusted;
  const found = new Set<string>();
  // A root is its own issuer.
  for (let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true); at; at = at.issuerCertificate) {
    if (trusted.has(at.fingerprint256)) found.add(at.fingerprint256);
    if (at.issuerCertificate?.fingerprint256 === at.fingerprint256) break;
  }
  return found;
}
