import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';

/** Request headers as a HandlerContext has them: binary values in base64, as gRPC sends them. */
export function toHeaders(incoming: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming)) {
    if (name.startsWith(':') || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one);
  }
  return headers;
}

/** Response headers or trailers, as a handler set them, beside those of the protocol, which win. */
export function withHeaders(set: Headers | undefined, protocol: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return set ? { ...Object.fromEntries(set), ...protocol } : protocol;
}
