import { hash, type X509Certificate } from 'node:crypto';
import type { Principal } from '../core/access/principal.ts';
import { Refusal } from './refusal.ts';
import { sanOf } from './san.ts';

/** The part of a TLSSocket that says who is at its other end. */
export interface PeerSocket {
  /** Whether the listener's authorities have signed the certificate. It becomes false when they are no longer among them. */
  readonly authorized: boolean;
  getPeerX509Certificate(): X509Certificate | undefined;
}

/** Whether a socket is one of TLS. */
export function isPeerSocket(socket: object | undefined): socket is PeerSocket {
  return socket !== undefined && 'getPeerX509Certificate' in socket;
}

/** What the certificate of a connection says, and until when. */
interface Identity {
  readonly principal: Principal;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Not held on to: who has called is remembered for longer than connections last. */
  readonly socket: WeakRef<PeerSocket>;
}

/** Knows who is at the other end of connections, each of which is looked into once. */
export class Certificates {
  /** Null: it presented none. */
  readonly #bySocket = new WeakMap<object, Identity | Refusal | null>();
  readonly #byPrincipal = new WeakMap<Principal, Identity>();

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
    if (fault === 'expired') throw new Refusal('expired', 'the certificate has expired', seen.principal);
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
    // Of its key, and not of all of it: who holds it can write the signature anew, and so have it go by another id.
    const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
    const credentialId = hash('sha256', spki).slice(0, 12);
    const principal: Principal = Object.freeze({ name, method: 'certificate', credentialId, expireTime: notAfter });
    const notBefore = certificate.validFromDate.getTime();
    const identity: Identity = { principal, notBefore, notAfter, socket: new WeakRef(socket) };
    this.#byPrincipal.set(principal, identity);
    return identity;
  }

  #faultOf(identity: Identity, now: number): 'invalid' | 'expired' | undefined {
    if (!identity.socket.deref()?.authorized || now < identity.notBefore) return 'invalid';
    return now >= identity.notAfter ? 'expired' : undefined;
  }
}
