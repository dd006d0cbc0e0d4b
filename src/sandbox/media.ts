import { Readable } from 'node:stream';

/** A file that is downloaded. */
export interface Media {
  /** How the download is named. */
  readonly name: string;
  readonly contentType: string;
  /** In bytes. */
  readonly size: number;
  /** The content; null: what `generated` makes. */
  readonly bytes: Buffer | null;
}

/** What may be uploaded, with the type that a download of it has. */
export const MEDIA_TYPES: ReadonlyMap<string, string> = new Map([
  ['image', 'image/jpeg'],
  ['voice', 'audio/amr'],
  ['video', 'video/mp4'],
  ['thumb', 'image/jpeg'],
]);

/** Temporary media live for three days. */
const LIFE_MS = 3 * 86_400_000;
/** Bytes that uploads may have together; older ones are forgotten. */
const MOST_BYTES = 64 * 1024 * 1024;
/** Uploads that are kept. */
const MOST_FILES = 1_000;
/** The largest file that is made up, in bytes. */
const MOST_GENERATED = 2 ** 32;

interface Upload extends Media {
  readonly appId: string;
  readonly bytes: Buffer;
  readonly time: number;
}

/** What was uploaded. */
export class MediaLibrary {
  readonly #uploads = new Map<string, Upload>();
  #size = 0;

  /** Keeps a file of an app under an id. `type` is one of `MEDIA_TYPES`. */
  add(appId: string, id: string, type: string, bytes: Buffer, time: number): void {
    const contentType = MEDIA_TYPES.get(type) ?? 'application/octet-stream';
    this.#uploads.set(id, { appId, name: id, contentType, size: bytes.length, bytes, time });
    this.#size += bytes.length;
    for (const [oldest, upload] of this.#uploads) {
      if (this.#size <= MOST_BYTES && this.#uploads.size <= MOST_FILES) break;
      this.#uploads.delete(oldest);
      this.#size -= upload.size;
    }
  }

  /** The file of an id: one that this app uploaded and that has not expired, or for `generated-BYTES` one of that size. */
  get(appId: string, id: string, now: number): Media | undefined {
    const [, digits] = /^generated-(\d{1,10})$/.exec(id) ?? [];
    if (digits !== undefined && Number(digits) <= MOST_GENERATED)
      return { name: id, contentType: 'application/octet-stream', size: Number(digits), bytes: null };
    const upload = this.#uploads.get(id);
    return upload?.appId === appId && now - upload.time < LIFE_MS ? upload : undefined;
  }
}

/** Half of a file, as when the connection ends early. */
export function halfOf(media: Media): Media {
  const size = Math.floor(media.size / 2);
  return { ...media, size, bytes: media.bytes?.subarray(0, size) ?? null };
}

const BLOCK = Buffer.from(Array.from({ length: 64 * 1024 }, (_, i) => (i * 31 + (i >> 8)) % 256));

/** A file's content, in pieces; a made-up one repeats a block of 64 KiB. */
export function streamOf({ bytes, size }: Media): Readable {
  return Readable.from(bytes ? [bytes] : generated(size), { objectMode: false });
}

function* generated(size: number): Generator<Buffer> {
  for (let left = size; left > 0; left -= BLOCK.length) yield left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
}
