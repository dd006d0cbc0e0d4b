import type { Socket } from 'node:net';

/**
 * The address that a connection comes from, as audits have it: without port, and IPv4 as such where the listener has both
 * (`::ffff:10.0.0.1`). Ask while it is open: of one that is closed nothing is known.
 */
export function peerName(socket: Pick<Socket, 'remoteAddress'> | null | undefined): string {
  const address = socket?.remoteAddress;
  if (!address) return 'unknown';
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}
