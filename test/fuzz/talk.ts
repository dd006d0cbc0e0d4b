import { connect } from 'node:net';

/** How long an answer is waited for where none need come, in milliseconds. */
const QUIET_MS = 20;
const PATIENCE_MS = 10_000;

/**
 * Sends bytes on a connection of their own, in pieces, and resolves with what came back until it was ended, `isEnough`, or
 * nothing came for a while. Rejects when the other end takes no connection.
 */
export function talk(
  address: string,
  pieces: readonly Buffer[],
  { cut = false, isEnough = () => false }: { cut?: boolean; isEnough?: (came: Buffer) => boolean } = {},
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let connected = false;
    const socket = connect({ host: '127.0.0.1', port: Number(address.split(':')[1]) });
    const late = setTimeout(() => settle(new Error('no connection came about')), PATIENCE_MS);
    let quiet: NodeJS.Timeout | undefined;
    const settle = (error?: Error) => {
      clearTimeout(late);
      clearTimeout(quiet);
      socket.destroy();
      if (error) reject(error);
      else resolve(Buffer.concat(chunks));
    };
    socket.once('connect', () => {
      connected = true;
      for (const piece of pieces) socket.write(piece);
      if (cut) return void socket.end(() => settle());
      quiet = setTimeout(settle, QUIET_MS);
    });
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (isEnough(Buffer.concat(chunks))) return settle();
      quiet?.refresh();
    });
    socket.once('error', (error) => settle(connected ? undefined : error));
    socket.once('close', () => settle());
  });
}
