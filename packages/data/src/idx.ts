import { gunzipSync } from "node:zlib";
import { DataError } from "./dataError.ts";

/** An array of bytes of any rank, as an IDX file holds it. */
export interface IdxArray {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Uint8Array;
}

const unsignedByte = 0x08;

/**
 * Reads an IDX file of unsigned bytes, gzipped or not: two zero bytes, the element type, the rank, each size as a big-endian
 * 32-bit word, then the elements.
 * Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", file formats.
 *
 * ```ts
 * import { decodeIdx } from "@revnet-zero/data";
 * decodeIdx(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9)).data; // => Uint8Array(3) [ 7, 8, 9 ]
 * ```
 *
 * @param file named in errors.
 * @throws DataError that says what is wrong with which file.
 */
export function decodeIdx(bytes: Uint8Array, file = "IDX file"): IdxArray {
  const raw = isGzip(bytes) ? gunzip(bytes, file) : bytes;
  const [zero, alsoZero, type, rank = 0] = raw;
  if (raw.length < 4 || zero !== 0 || alsoZero !== 0)
    throw broken(file, "does not begin as an IDX file does, with two zero bytes");
  if (type !== unsignedByte)
    throw broken(
      file,
      `holds elements of type 0x${type!.toString(16).padStart(2, "0")}`,
      "only unsigned bytes (0x08) are read",
    );
  const start = 4 + 4 * rank;
  if (raw.length < start) throw broken(file, `ends inside its header: ${raw.length} of ${start} bytes`);
  const view = new DataView(raw.buffer, raw.byteOffset);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const size = shape.reduce((n, s) => n * s, 1);
  if (raw.length - start !== size)
    throw broken(file, `has ${raw.length - start} bytes of data, and [${shape.join(", ")}] takes ${size}`);
  return { shape, data: new Uint8Array(raw.buffer, raw.byteOffset + start, size) };
}

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

function gunzip(bytes: Uint8Array, file: string): Uint8Array {
  try {
    const { buffer, byteOffset, length } = gunzipSync(bytes);
    return new Uint8Array(buffer, byteOffset, length);
  } catch (error) {
    throw broken(file, `cannot be unpacked (${(error as Error).message})`, undefined, error);
  }
}

function broken(file: string, problem: string, hint = "copy or download the file again", cause?: unknown): DataError {
  return new DataError("decodeIdx", `"${file}" ${problem}`, hint, { cause });
}
