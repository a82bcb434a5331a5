// The safetensors format: 8 bytes header length (little-endian), a JSON header, then the tensors' bytes without gaps.
// Source: Hugging Face, "Safetensors", format description and reference implementation, version 0.4.
// We differ: names must be well-formed Unicode when written, and tensors are laid out largest element first, then by name, so that
// every one of them is aligned to its element size.

import { CheckpointError } from "./checkpointError.ts";
import { findDuplicateKey } from "./jsonKeys.ts";

/** Element types of the format and their size in bytes. */
export const safetensorsBytes = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type SafetensorsDType = keyof typeof safetensorsBytes;

/** One tensor: `data` holds its elements in row-major order, little-endian. */
export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface SafetensorsContents {
  /** In the order of the file's data. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The reference implementation reads no longer header, and neither do we: a broken length must not cost memory. */
const longestHeader = 100_000_000;

const metadataKey = "__metadata__";

/**
 * The file as consecutive parts: the header, then each tensor's own bytes, not copied. Write them one after another and a
 * checkpoint needs no second copy of the model.
 *
 * @throws CheckpointError if an entry's bytes do not fit its shape and dtype, or a name is reserved or no Unicode.
 */
export function safetensorsParts(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const order = [...tensors].sort(
    ([nameA, a], [nameB, b]) =>
      safetensorsBytes[b.dtype] - safetensorsBytes[a.dtype] || (nameA < nameB ? -1 : nameA > nameB ? 1 : 0),
  );
  // Written key by key: a JavaScript object would move names like "12" to the front.
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`${JSON.stringify(metadataKey)}:${JSON.stringify(metadata)}`);
  let offset = 0;
  for (const [name, { dtype, shape, data }] of order) {
    checkWritable(name, dtype, shape, data);
    const info = JSON.stringify({ dtype, shape, data_offsets: [offset, offset + data.byteLength] });
    fields.push(`${JSON.stringify(name)}:${info}`);
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  // Spaces fill the header so that the data begins at a multiple of 8 in the file.
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return [header, ...order.map(([, entry]) => entry.data)];
}

/**
 * The file in one piece.
 *
 * ```ts
 * import { decodeSafetensors, encodeSafetensors } from "@revnet-zero/io";
 * const weight = { dtype: "F32", shape: [2], data: new Uint8Array(new Float32Array([1, 2]).buffer) } as const;
 * const file = encodeSafetensors(new Map([["weight", weight]]));
 * decodeSafetensors(file).tensors.get("weight")?.shape; // => [ 2 ]
 * ```
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const parts = safetensorsParts(tensors, metadata);
  const file = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    file.set(part, offset);
    offset += part.byteLength;
  }
  return file;
}

/**
 * Reads a file, trusting nothing in it. Each entry's `data` is a view into `bytes`, or a copy where the view would not be
 * aligned to the element size: `new Float32Array(data.buffer, data.byteOffset, n)` always works.
 *
 * @param file named in errors.
 * @throws CheckpointError that says what is wrong with which tensor of which file.
 */
export function decodeSafetensors(bytes: Uint8Array, file = "safetensors file"): SafetensorsContents {
  const { header, dataStart } = readHeader(bytes, file);
  const data = bytes.subarray(dataStart);
  let metadata: Readonly<Record<string, string>> = {};
  const infos: Info[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) metadata = checkMetadata(value, file);
    else infos.push(checkInfo(name, value, data.byteLength, file));
  }
  infos.sort((a, b) => a.begin - b.begin || a.end - b.end);
  const tensors = new Map<string, SafetensorsEntry>();
  let covered = 0;
  for (const { name, dtype, shape, begin, end } of infos) {
    if (begin !== covered) {
      const problem =
        begin < covered ? "overlaps the one before it" : `leaves ${begin - covered} bytes before it unused`;
      throw broken(file, `tensor ${quote(name)} (bytes ${begin} to ${end}) ${problem}`);
    }
    covered = end;
    tensors.set(name, { dtype, shape, data: aligned(data.subarray(begin, end), safetensorsBytes[dtype]) });
  }
  if (covered !== data.byteLength) {
    throw broken(file, `${data.byteLength - covered} bytes after the last tensor belong to none`);
  }
  return { tensors, metadata };
}

interface Info {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function readHeader(bytes: Uint8Array, file: string): { header: Record<string, unknown>; dataStart: number } {
  if (bytes.byteLength < 8)
    throw truncated(file, `the file has ${bytes.byteLength} bytes, and its header length alone takes 8`);
  const declared = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (declared > longestHeader) {
    throw broken(file, `its header claims ${declared} bytes, and the format allows ${longestHeader}`);
  }
  const dataStart = 8 + Number(declared);
  if (dataStart > bytes.byteLength) {
    throw truncated(file, `the header ends at byte ${dataStart}, the file at byte ${bytes.byteLength}`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, dataStart));
  } catch (error) {
    throw broken(file, "the header is not UTF-8 text", error);
  }
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw broken(file, `the header is not JSON (${(error as Error).message})`, error);
  }
  if (!text.startsWith("{") || !isRecord(header)) throw broken(file, 'the header does not begin with "{"');
  const twice = findDuplicateKey(text);
  if (twice !== undefined) throw broken(file, `the header has the key ${quote(twice)} twice`);
  return { header, dataStart };
}

function checkMetadata(value: unknown, file: string): Record<string, string> {
  if (isRecord(value) && Object.values(value).every((entry) => typeof entry === "string")) {
    return value as Record<string, string>;
  }
  throw broken(file, `${metadataKey} is not a map of texts`);
}

function checkInfo(name: string, value: unknown, dataBytes: number, file: string): Info {
  const fail = (problem: string, hint?: string): never => {
    throw broken(file, `tensor ${quote(name)}: ${problem}`, undefined, hint);
  };
  if (!isRecord(value)) return fail("its description is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(safetensorsBytes, dtype)) {
    const known = Object.keys(safetensorsBytes).join(", ");
    return fail(`unknown dtype ${quote(dtype)}`, `convert the file to one of ${known}`);
  }
  if (!isCounts(shape)) return fail(`shape ${quote(shape)} is not a list of whole numbers`);
  if (!isCounts(offsets) || offsets.length !== 2) {
    return fail(`data_offsets ${quote(offsets)} are not two whole numbers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) return fail(`data_offsets [${begin}, ${end}] run backwards`);
  if (end > dataBytes) {
    throw truncated(file, `tensor ${quote(name)}: its data ends at byte ${end} of ${dataBytes} there are`);
  }
  const expected = countBytes(shape, dtype as SafetensorsDType);
  if (expected !== end - begin) {
    return fail(`${quote(shape)} ${dtype} takes ${expected} bytes, and data_offsets give it ${end - begin}`);
  }
  return { name, dtype: dtype as SafetensorsDType, shape, begin, end };
}

function checkWritable(name: string, dtype: SafetensorsDType, shape: readonly number[], data: Uint8Array): void {
  const fail = (problem: string, hint: string): never => {
    throw new CheckpointError("encodeSafetensors", quote(name), problem, hint);
  };
  if (name === metadataKey) fail("is not a tensor name in this format", "rename the tensor");
  if (/\p{Surrogate}/u.test(name)) fail("is not well-formed Unicode", "rename the tensor");
  if (!isCounts(shape)) fail(`shape ${quote(shape)} is not a list of whole numbers`, "pass the tensor's shape");
  const expected = countBytes(shape, dtype);
  if (expected !== data.byteLength) {
    fail(
      `[${shape.join(", ")}] ${dtype} takes ${expected} bytes, and data has ${data.byteLength}`,
      "pass the bytes of the whole tensor: new Uint8Array(array.buffer, array.byteOffset, array.byteLength)",
    );
  }
}

/** Bytes of a tensor; past 2^53 the result is inexact or infinite, and then equals no length of a file. */
function countBytes(shape: readonly number[], dtype: SafetensorsDType): number {
  // A zero anywhere makes it 0, also beside sizes whose product is infinite.
  if (shape.includes(0)) return 0;
  return shape.reduce((product, size) => product * size, safetensorsBytes[dtype]);
}

function aligned(view: Uint8Array, elementBytes: number): Uint8Array {
  return view.byteOffset % elementBytes === 0 ? view : view.slice();
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((entry) => Number.isSafeInteger(entry) && entry >= 0);
}

/** A value of the file in a message, cut short: a broken file may hold anything. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function truncated(file: string, problem: string): CheckpointError {
  return broken(
    file,
    problem,
    undefined,
    "the file was cut off; copy or download it again, or use an older checkpoint",
  );
}

function broken(
  file: string,
  problem: string,
  cause?: unknown,
  hint = "the file is damaged or no safetensors file; copy or download it again, or use an older checkpoint",
): CheckpointError {
  return new CheckpointError("decodeSafetensors", file, problem, hint, { cause });
}
