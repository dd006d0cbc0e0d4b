/** A number of things in words: "1 permit", "2 permits". `noun` takes an s. */
export function counted(count: number | bigint, noun: string): string {
  return `${count} ${noun}${Number(count) === 1 ? '' : 's'}`;
}
