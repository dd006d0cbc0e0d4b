import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { NoCredential } from './failure.js';

const PROTOS = join(import.meta.dirname, '../../../proto');
/** Numbers of 64 bits are strings: a generation may be larger than a number is exact. */
const definition = loadSync('lingpai/v1/token.proto', { includeDirs: [PROTOS], longs: String, enums: String, defaults: true, oneofs: true });
const { TokenService } = grpc.loadPackageDefinition(definition).lingpai.v1;

const CHANNEL_OPTIONS = {
  'grpc.use_local_subchannel_pool': 1, // else a new channel takes the connection of an old one
  'grpc.enable_http_proxy': 0, // the broker is an internal address: http_proxy is for others
};

/**
 * Where the broker is, and what this service shows it. Files are read at each connect: certificates are renewed, keys rotated, and
 * Kubernetes replaces a projected token every hour.
 */
export class Broker {
  #addr;
  #isTls;
  #env;

  /** addr: HOST:PORT, https://HOST:PORT or http://HOST:PORT. Throws a RangeError that says what to write. */
  constructor(addr, env) {
    const [, scheme, rest] = /^(?:(https?):\/\/)?([^/]+)\/?$/.exec(addr) ?? [];
    if (!rest) throw new RangeError(`${addr} is no address: write HOST:PORT or https://HOST:PORT`);
    const { LINGPAI_CA, LINGPAI_CERT, LINGPAI_CERT_KEY, LINGPAI_KEY, LINGPAI_KEY_FILE, LINGPAI_PLAINTEXT } = env;
    [this.#addr, this.#env] = [rest, env];
    this.#isTls = scheme ? scheme === 'https' : Boolean(LINGPAI_CA || LINGPAI_CERT);
    if (LINGPAI_KEY && LINGPAI_KEY_FILE)
      throw new RangeError('LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them');
    if (!LINGPAI_CERT !== !LINGPAI_CERT_KEY)
      throw new RangeError('LINGPAI_CERT and LINGPAI_CERT_KEY belong together: set both');
    const mayShow = this.#isTls || LINGPAI_PLAINTEXT === '1' || isLoopback(rest);
    if ((LINGPAI_KEY || LINGPAI_KEY_FILE) && !mayShow) {
      const advice = `write https://${rest}, or set LINGPAI_PLAINTEXT=1 where nobody can listen in between`;
      throw new RangeError(`the key would go to ${rest} unencrypted: ${advice}`);
    }
  }

  /** A client with a new connection, and the credentials that each of its calls is made with. Throws NoCredential. */
  dial() {
    const { LINGPAI_CA, LINGPAI_CERT, LINGPAI_CERT_KEY, LINGPAI_KEY, LINGPAI_KEY_FILE } = this.#env;
    const key = LINGPAI_KEY_FILE ? read(LINGPAI_KEY_FILE)?.toString().trim() : LINGPAI_KEY;
    if (LINGPAI_KEY_FILE && !key) throw new NoCredential(`LINGPAI_KEY_FILE ${LINGPAI_KEY_FILE} is empty`);
    const channel = this.#isTls
      ? secured(read(LINGPAI_CA), read(LINGPAI_CERT_KEY), read(LINGPAI_CERT))
      : grpc.credentials.createInsecure();
    const metadata = new grpc.Metadata();
    // grpc-js sends metadata over any channel: the constructor has looked where it goes.
    if (key) metadata.set('authorization', `Bearer ${key}`);
    return { client: new TokenService(this.#addr, channel, CHANNEL_OPTIONS), metadata };
  }
}

function secured(ca, key, cert) {
  try {
    return grpc.credentials.createSsl(ca, key, cert);
  } catch (error) {
    throw new NoCredential(`the certificates cannot be used: ${error.message}`);
  }
}

function read(path) {
  if (!path) return null;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new NoCredential(error.message);
  }
}

function isLoopback(addr) {
  return /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\]):\d+$/.test(addr);
}
