import { Metadata } from '@grpc/grpc-js';

/** Request metadata as the Headers that a HandlerContext has: binary values in base64, as connect has them. */
export function toHeaders(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const key of Object.keys(metadata.getMap()))
    for (const value of metadata.get(key)) headers.append(key, value.toString('base64'));
  return headers;
}

/** Response headers or trailers, as a handler set them, as metadata. */
export function toMetadata(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of headers) metadata.add(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  return metadata;
}
