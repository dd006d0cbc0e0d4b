import { X509Certificate } from 'node:crypto';
import { Authenticator } from '../../../src/access/authenticator.ts';
import { KeyFileError, parseKeys } from '../../../src/access/key-file.ts';
import { sanOf } from '../../../src/access/san.ts';
import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import { keyFile, makeKey } from '../../support/access-key.ts';
import { issue } from '../../support/certificates.ts';
import { FakeClock } from '../../support/clock.ts';
import { jwksText, makeJwt, makeSigningKey } from '../../support/jwt.ts';
import type { Draw } from '../draw.ts';
import type { Target } from '../target.ts';

const ISSUER = 'https://issuer.example';
const NAME = 'spiffe://prod.example/pay';

/** What callers present, and the key file: nobody is believed but who is known, and nothing of a key is told. */
export const credentials: Target = {
  name: 'credentials',
  share: 60,
  async open() {
    const one = makeKey('orders');
    const file = Buffer.from(keyFile(one, makeKey('other')));
    const signing = makeSigningKey('k1');
    const clock = new FakeClock();
    const jwt = makeJwt(signing, { iss: ISSUER, aud: 'lingpai', sub: 'orders', exp: clock.now() / 1000 + 60 });
    const der = new X509Certificate(issue({ names: ['dns:a.b', `uri:${NAME}`] }).cert).raw;
    const told: string[] = [];
    const issuer = { name: 'prod', kubernetes: false, issuer: ISSUER, audience: 'lingpai', algorithms: ['RS256'] };
    const known = new Authenticator(
      { keys: file.toString(), tokens: [{ ...issuer, jwks: { text: jwksText(signing) } }] },
      {
        clock,
        fetchJwks: () => Promise.reject(new Error()),
        onFailure: ({ cause }) => told.push(cause),
        onResult: () => undefined,
        onFetch: () => undefined,
      },
    );
    const bearers = [Buffer.from(`Bearer ${one.key}`), Buffer.from(`Bearer ${jwt}`)];
    const present = async (draw: Draw) => {
      const authorization = draw.mutated(draw.pick(bearers)).toString('latin1');
      try {
        const { name } = await known.authenticate({ headers: { authorization }, socket: undefined });
        if (name !== 'key:orders' && name !== 'jwt:prod/orders') throw new Error('a stranger is believed');
        // The scheme may be written in either case, and the last digit of base64url has bits that mean nothing.
        if (!authorization.slice(7).startsWith(name === 'key:orders' ? one.key : jwt.slice(0, -1)))
          throw new Error('what was changed is believed');
      } catch (error) {
        if (!(error instanceof LingpaiError) || error.reason === 'INTERNAL') throw error;
        const cause = told.pop() ?? '';
        if ((error.message + cause).includes(one.key.slice(8, 20))) throw new Error('a refusal shows a key');
        if (cause.length > 200 || cause === 'the credentials could not be looked at')
          throw new Error('a cause is no sentence', { cause: error });
      }
    };
    return {
      async take(draw) {
        await present(draw);
        const name = sanOf(draw.mutated(der));
        if (name !== undefined && !/^(spiffe:\/\/[a-z0-9._-]+\/[\w./-]+|dns:[a-z0-9._-]+)$/.test(name))
          throw new Error('a name is none');
        try {
          parseKeys(draw.mutated(file).toString());
        } catch (error) {
          if (!(error instanceof KeyFileError)) throw error;
          if (error.message.includes(one.stored.hash.slice(20))) throw new Error('an error quotes the file');
        }
      },
      [Symbol.asyncDispose]: async () => known[Symbol.dispose](),
    };
  },
};
