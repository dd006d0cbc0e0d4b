import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Principal } from '../core/access/principal.ts';

/** What is known of a call before its body is read. */
export interface Head {
  /** As it was asked for: `/lingpai.v1.TokenService/Get`. */
  readonly path: string;
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** Names and values in turn, as they came: of some headers that come twice `headers` has one. */
  readonly rawHeaders?: readonly string[];
  /** The connection, for the peer's address and certificate: a TLSSocket where the listener has TLS. */
  readonly socket: Socket | undefined;
}

/**
 * Finds out who makes a call: at once, or where that takes work, later. What it throws, or the promise rejects with, is the
 * call's error, and nothing of the call's body is read before.
 */
export type Authenticate = (head: Head) => Principal | Promise<Principal>;
