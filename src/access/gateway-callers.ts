import { credentialsError } from '../core/access/errors.ts';
import { LOCAL, type Principal } from '../core/access/principal.ts';
import type { Authenticator, CallHead } from './authenticator.ts';
import { hashOf, idOf, KEY_PREFIX } from './key.ts';
import { Refusal } from './refusal.ts';
import { parseStandIn, StandIns, unsignedStandIn } from './stand-in.ts';

type Socket = CallHead['socket'];

/** Who makes a call that shows a stand-in, and for which app. */
export interface Bearer {
  readonly caller: Principal;
  readonly appId: string;
}

/** Finds out who calls by what SDKs show in place of an AppSecret and of a token. */
export interface GatewayCallers {
  /**
   * Who shows `secret` where WeChat wants an AppSecret: a key or a JWT; where it is neither, the certificate of the connection
   * decides. Throws, or rejects, as `Authenticator.authenticate`.
   */
  bySecret(secret: string, socket: Socket): Principal | Promise<Principal>;
  /**
   * A stand-in for this app, for the caller that `bySecret` found by this secret. Undefined: what it is known by signs nothing,
   * and is not shown at each call: a JWT.
   */
  standInFor(caller: Principal, secret: string, appId: string): string | undefined;
  /**
   * Who shows this stand-in. One without a signature needs the certificate of its caller. Throws a LingpaiError:
   * CREDENTIALS_MISSING where that is not there, CREDENTIALS_INVALID or CREDENTIALS_EXPIRED.
   */
  byStandIn(text: string, socket: Socket): Bearer;
}

/** Three parts of base64url. */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Callers by keys, certificates and JWTs. */
export function knownCallers(authenticator: Authenticator): GatewayCallers {
  const standIns = new StandIns();
  return {
    bySecret(secret, socket) {
      const isCertified = authenticator.isCertified(socket);
      const isBearer = secret.startsWith(KEY_PREFIX) || (!isCertified && secret !== '');
      const isShown = isBearer || JWT.test(secret);
      return authenticator.authenticate({ headers: isShown ? { authorization: `Bearer ${secret}` } : {}, socket });
    },

    standInFor({ method }, secret, appId) {
      if (method === 'key') return standIns.sign(secret, idOf(hashOf(secret)), appId);
      return method === 'certificate' ? unsignedStandIn('certificate', appId) : undefined;
    },

    byStandIn(text, socket) {
      const isOfCertificate = parseStandIn(text)?.kind === 'certificate';
      let appId = '';
      const caller = authenticator.authenticateBy(isOfCertificate ? 'certificate' : 'key', socket, () => {
        const standIn = standIns.verify(text, (id) => authenticator.keyOf(id));
        if (!standIn || standIn.kind === 'local')
          throw new Refusal('invalid', 'the stand-in is of no key that is known');
        appId = standIn.appId;
        if (standIn.kind === 'key') return authenticator.byKeyId(standIn.keyId);
        const principal = authenticator.byCertificate(socket);
        if (!principal) throw new Refusal('missing', 'the stand-in is of a certificate, and none was presented');
        return principal;
      });
      return { caller, appId };
    },
  };
}

/** Everyone is `local`: any secret will do, and a stand-in says for which app it is. */
export const localCallers: GatewayCallers = {
  bySecret: () => LOCAL,
  standInFor: (_, __, appId) => unsignedStandIn('local', appId),
  byStandIn(text) {
    const standIn = parseStandIn(text);
    if (!standIn) throw credentialsError('CREDENTIALS_INVALID');
    return { caller: LOCAL, appId: standIn.appId };
  },
};
