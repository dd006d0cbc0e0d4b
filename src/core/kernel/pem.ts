const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';

/**
 * The certificates of a text in PEM, each as it stands there, in their order. What else is in it, such as a private key, is passed
 * over. `isCut`: the last one has no end.
 */
export function certificateBlocks(text: string): { readonly blocks: readonly string[]; readonly isCut: boolean } {
  const blocks: string[] = [];
  for (let start = text.indexOf(BEGIN); start !== -1; ) {
    const end = text.indexOf(END, start);
    if (end === -1) return { blocks, isCut: true };
    blocks.push(text.slice(start, end + END.length));
    start = text.indexOf(BEGIN, end);
  }
  return { blocks, isCut: false };
}
