/** A DER element: its tag, and where its content lies. */
interface Element {
  readonly tag: number;
  readonly from: number;
  readonly to: number;
}

const SEQUENCE = 0x30;
const OBJECT_ID = 0x06;
const OCTETS = 0x04;
/** `[3]` of TBSCertificate. */
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const URI = 0x86;
/** 2.5.29.17, subjectAltName. */
const SAN = Buffer.from('551d11', 'hex');

/** More names than this are not looked through, and the certificate is nobody's. */
const MAX_NAMES = 100;
const MAX_NAME_BYTES = 2048;

const SPIFFE = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.\.?(?:\/|$))[A-Za-z0-9._-]+)+$/;
const HOST = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/**
 * The one name by which a certificate, in DER, is an identity: its SPIFFE ID where it has exactly one URI and that is one; `dns:NAME` of the first
 * DNS name, in small letters, where it has no URI. Undefined where it has neither, or is not as DER is to be. It reads the extension itself: Node gives the names
 * as one text, in which a hostile name may look like two.
 */
export function sanOf(der: Buffer): string | undefined {
  const names = namesOf(der);
  if (!names) return undefined;
  const uris = names.filter(({ tag }) => tag === URI);
  const text = ({ from, to }: Element) => (to - from > MAX_NAME_BYTES ? '' : der.subarray(from, to).toString('latin1'));
  if (uris.length > 0) {
    const [uri] = uris;
    return uris.length === 1 && uri && SPIFFE.test(text(uri)) ? text(uri) : undefined;
  }
  const host = names.find(({ tag }) => tag === DNS_NAME);
  const name = host && text(host).toLowerCase();
  return name !== undefined && HOST.test(name) ? `dns:${name}` : undefined;
}

/** The GeneralNames of the one subjectAltName; undefined: there is none, or more than one. */
function namesOf(der: Buffer): Element[] | undefined {
  const [certificate] = elements(der, 0, der.length) ?? [];
  const [body] = within(der, certificate, SEQUENCE) ?? [];
  const extensions = within(der, body, SEQUENCE)?.find(({ tag }) => tag === EXTENSIONS);
  const [list] = within(der, extensions, EXTENSIONS) ?? [];
  const found = within(der, list, SEQUENCE)?.flatMap((extension) => {
    const parts = within(der, extension, SEQUENCE) ?? [];
    const [id] = parts;
    const value = parts.at(-1);
    return id?.tag === OBJECT_ID && der.subarray(id.from, id.to).equals(SAN) && value ? [value] : [];
  });
  if (found?.length !== 1) return undefined;
  const [names] = within(der, found[0], OCTETS) ?? [];
  const all = within(der, names, SEQUENCE);
  return all && all.length <= MAX_NAMES ? all : undefined;
}

/** What is within an element of this tag. */
function within(der: Buffer, element: Element | undefined, tag: number): Element[] | undefined {
  return element?.tag === tag ? elements(der, element.from, element.to) : undefined;
}

/** The elements of a stretch that they fill to its end; undefined: they do not, or one has no definite length. */
function elements(der: Buffer, from: number, to: number): Element[] | undefined {
  const found: Element[] = [];
  for (let at = from; at < to; ) {
    const tag = der[at] ?? 0;
    const short = der[at + 1] ?? 0x80;
    // Three bytes of length are 16 MiB; a tag above 30 takes more bytes than one, and none is here.
    const count = short < 0x80 ? 0 : short - 0x80;
    if ((tag & 0x1f) === 0x1f || short === 0x80 || count > 3 || at + 2 + count > to) return undefined;
    const length = count === 0 ? short : der.readUIntBE(at + 2, count);
    const start = at + 2 + count;
    if (start + length > to) return undefined;
    found.push({ tag, from: start, to: start + length });
    at = start + length;
  }
  return found;
}
