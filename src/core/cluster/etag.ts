/** How many contents of a record there were with this one: an etag begins with a number that counts on. */
export function turnOf(etag: string | null): number {
  return etag === null ? 0 : Number.parseInt(etag, 10) || 0;
}

/** The etag of the content that follows this one; `id` is given to nothing else. */
export function etagAfter(etag: string | null, id: string): string {
  return `${turnOf(etag) + 1}.${id}`;
}
