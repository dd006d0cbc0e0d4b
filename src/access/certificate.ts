import { X509Certificate } from 'node:crypto';
import type { Principal } from '../core/access/principal.ts';
import { Refusal } from './refusal.ts';
import { sanOf } from './san.ts';

/** The part of a TLSSocket that says who is at its other end. */
export interface PeerSocket {
  /** Whether the listener's authorities have signed the certificate, as it was seen when the connection was made. */
  readonly authorized: boolean;
  getPeerX509Certificate(): X509Certificate | undefined;
}

/** Whether a socket is one of TLS. */
export function isPeerSocket(socket: object | undefined): socket is PeerSocket {
  return socket !== undefined && 'getPeerX509Certificate' in socket;
}

/** What a certificate says, and until when. */
interface Identity {
  readonly principal: Principal;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly certificate: X509Certificate;
  /** The authorities that it was last held against, and whether they vouch for it. */
  vouched: { readonly by: Authorities; readonly isGood: boolean };
}

/** What the certificates of one listener are held against: the same object while nothing changes. */
export interface Authorities {
  readonly certificates: readonly X509Certificate[];
}

/** The certificates of a PEM text. Throws an Error where one cannot be read. */
export function authoritiesOf(pem: string | null): Authorities {
  const blocks = pem?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return { certificates: blocks.map((block) => new X509Certificate(block)) };
}

/** Knows who is at the other end of connections, each of which is looked into once. */
export class Certificates {
  #authorities: Authorities;
  /** Null: it presented none. */
  readonly #bySocket = new WeakMap<object, Identity | Refusal | null>();
  readonly #byPrincipal = new WeakMap<Principal, Identity>();

  constructor(authorities: Authorities) {
    this.#authorities = authorities;
  }

  /** Replaces the authorities; whom the new ones do not vouch for is no longer believed, on open connections too. */
  set authorities(authorities: Authorities) {
    this.#authorities = authorities;
  }

  /** Whether a peer presented a certificate. */
  isPresented(socket: PeerSocket): boolean {
    return this.#seen(socket) !== null;
  }

  /** Who a peer is by its certificate; undefined: it presented none. Throws a Refusal. */
  identify(socket: PeerSocket, now: number): Principal | undefined {
    const seen = this.#seen(socket);
    if (seen === null) return undefined;
    if (seen instanceof Refusal) throw seen;
    const fault = this.#faultOf(seen, now);
    if (fault === 'expired') throw new Refusal('expired', 'the certificate has expired');
    if (fault) throw new Refusal('invalid', 'the certificate is not valid yet, or its authority is no longer trusted');
    return seen.principal;
  }

  /** Why whom a certificate proved would not be believed now; undefined: it would. */
  fault(principal: Principal, now: number): 'invalid' | 'expired' | undefined {
    const identity = this.#byPrincipal.get(principal);
    return identity ? this.#faultOf(identity, now) : 'invalid';
  }

  #seen(socket: PeerSocket): Identity | Refusal | null {
    let seen = this.#bySocket.get(socket);
    if (seen === undefined) {
      seen = this.#look(socket);
      this.#bySocket.set(socket, seen);
    }
    return seen;
  }

  #look(socket: PeerSocket): Identity | Refusal | null {
    const certificate = socket.getPeerX509Certificate();
    if (!certificate) return null;
    if (!socket.authorized) return new Refusal('invalid', 'the certificate is of no authority that is trusted');
    const name = sanOf(certificate.raw);
    if (name === undefined) return new Refusal('invalid', 'the certificate has no name that is an identity');
    // X509-SVID, section 5.2: whoever may sign is nobody's identity.
    if (name.startsWith('spiffe:') && certificate.ca)
      return new Refusal('invalid', 'the certificate is of an authority, and not of a workload');
    const notAfter = certificate.validToDate.getTime();
    const credentialId = certificate.fingerprint256.replaceAll(':', '').slice(0, 12).toLowerCase();
    const principal: Principal = Object.freeze({ name, method: 'certificate', credentialId, expireTime: notAfter });
    const vouched = { by: this.#authorities, isGood: this.#authorities.certificates.length > 0 };
    const notBefore = certificate.validFromDate.getTime();
    const identity: Identity = {
      principal,
      notBefore,
      notAfter,
      certificate,
      vouched,
    };
    this.#byPrincipal.set(principal, identity);
    return identity;
  }

  #faultOf(identity: Identity, now: number): 'invalid' | 'expired' | undefined {
    if (identity.vouched.by !== this.#authorities)
      identity.vouched = { by: this.#authorities, isGood: isVouchedFor(identity, this.#authorities) };
    if (!identity.vouched.isGood || now < identity.notBefore) return 'invalid';
    return now >= identity.notAfter ? 'expired' : undefined;
  }
}

/**
 * Whether authorities vouch for a certificate for which others did, or did not. Of a connection only the certificate itself is known, and not those between
 * it and an authority: where one that vouched before is gone, it has to be signed by one of the new ones directly. One that is not
 * is known again when its connection is made anew.
 */
function isVouchedFor(identity: Identity, { certificates }: Authorities): boolean {
  const { by, isGood } = identity.vouched;
  const has = (wanted: X509Certificate) =>
    certificates.some(({ fingerprint256 }) => fingerprint256 === wanted.fingerprint256);
  if (isGood && by.certificates.every(has)) return true;
  const { certificate } = identity;
  return certificates.some(
    (issuer) => has(certificate) || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)),
  );
}
