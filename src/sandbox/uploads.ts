/** The largest upload, in bytes. */
export const UPLOAD_CAP = 20 * 1024 * 1024;
/** How much of uploads that are on their way is held at once. */
const HELD_CAP = 16 * UPLOAD_CAP;
/** What is read, and forgotten, of one that is too large before its connection ends. */
const READ_CAP = 4 * UPLOAD_CAP;

/** Uploads that are on their way, in bounded memory. */
export class Uploads {
  #held = 0;

  /**
   * The bytes of an upload once all have come, handed to `use`; what is too large is read to its end, so that its sender hears of
   * it: then `use` has its errcode, 45001, or -1 where others have the room. Rejects where the sender leaves, or never ends.
   */
  async take(body: AsyncIterable<Buffer>, use: (whole: Buffer | number) => void): Promise<void> {
    let chunks: Buffer[] = [];
    let [size, held, errcode] = [0, 0, 0];
    const release = () => {
      this.#held -= held;
      held = 0;
      chunks = [];
    };
    try {
      for await (const chunk of body) {
        size += chunk.length;
        if (size > READ_CAP) throw new Error('the upload is too large');
        if (errcode === 0 && size > UPLOAD_CAP) errcode = 45001;
        if (errcode === 0 && this.#held + chunk.length > HELD_CAP) errcode = -1;
        if (errcode !== 0) {
          release();
          continue;
        }
        this.#held += chunk.length;
        held += chunk.length;
        chunks.push(chunk);
      }
      use(errcode === 0 ? Buffer.concat(chunks) : errcode);
    } finally {
      release();
    }
  }
}
