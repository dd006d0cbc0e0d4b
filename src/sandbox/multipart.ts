/** The boundary of a multipart content type; undefined: it is none. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const [, quoted, plain] =
    /^multipart\/form-data\s*;.*\bboundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(contentType ?? '') ?? [];
  return quoted ?? plain;
}

/** The head of a part is looked for in so many bytes, and a file among so many parts. */
const HEAD = 4 * 1024;
const PARTS = 100;

/** The content of the first part that is a file (it has a filename, or is named media); undefined: there is none, or it does not end. */
export function fileIn(body: Buffer, boundary: string): Buffer | undefined {
  const delimiter = Buffer.from(`--${boundary}`);
  let at = body.indexOf(delimiter);
  for (let part = 0; at >= 0 && part < PARTS; part++) {
    const begin = at + delimiter.length;
    const head = body.subarray(begin, begin + HEAD);
    const headEnd = head.indexOf('\r\n\r\n');
    if (headEnd < 0) return undefined;
    const next = body.indexOf(Buffer.from(`\r\n--${boundary}`), begin);
    if (next < 0) return undefined;
    if (
      /content-disposition:[^\r\n]*\b(filename\*?=|name="?media\b)/i.test(head.subarray(0, headEnd).toString('latin1'))
    )
      return body.subarray(begin + headEnd + 4, next);
    at = next + 2;
  }
  return undefined;
}
