import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';

/** Where an issuer's public keys are fetched. */
export interface JwksAddress {
  readonly url: string;
  /** Certificates in PEM, of which one has signed the server's; null: those that the system trusts. */
  readonly ca: string | null;
  /** The file of a bearer token for the request; it is read at each, since such tokens are replaced. Null: none. */
  readonly tokenFile: string | null;
}

/** The most bytes of an answer that are read. */
const MAX_BYTES = 256 * 1024;

/** Fetches the text of an issuer's public keys. It follows no redirect. Rejects with an error whose message holds no secret. */
export async function fetchJwks({ url, ca, tokenFile }: JwksAddress, signal: AbortSignal): Promise<string> {
  const token = tokenFile === null ? undefined : (await readFile(tokenFile, 'utf8')).trim();
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) throw new Error('the token file has no token in it');
  const dispatcher = new Agent({ connect: ca === null ? {} : { ca }, maxResponseSize: MAX_BYTES });
  try {
    const headers = { accept: 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) };
    const { statusCode, body } = await request(url, { dispatcher, headers, signal });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`the answer was HTTP ${statusCode}`);
    return text;
  } finally {
    await dispatcher.destroy();
  }
}
