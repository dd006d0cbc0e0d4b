import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { listen } from '../../src/server/listen.ts';
import { LOOPBACK } from '../support/rpc.ts';

describe('listen', () => {
  it('says where it listens, with the port that it got', async () => {
    const server = createServer();
    const address = await listen(server, LOOPBACK, 'grpc.listen');
    expect(address).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
    server.close();
  });

  it('says that the machine has no such address', async () => {
    // An address for documentation, which no machine has.
    await expect(listen(createServer(), { host: '192.0.2.1', port: 0 }, 'http.listen')).rejects.toThrow(
      'cannot listen on 192.0.2.1:0: this machine has no such address; correct http.listen',
    );
  });
});
