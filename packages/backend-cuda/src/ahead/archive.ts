import { closeSync, openSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { nativeFolder } from "../device/addon.ts";
import { writeWhole } from "../device/cacheFolder.ts";

/** Machine code of kernels for several architectures in one file: one line of JSON that says where each lies, then all of them. */
interface Index {
  readonly architectures: string;
  /** By the hash of the source: offset behind the line, and bytes. */
  readonly kernels: Readonly<Record<string, readonly [offset: number, bytes: number]>>;
}

export const archiveFile = (): string => join(nativeFolder(), "out", "kernels.fatbins");

/** The PTX in it is for this architecture and all after it. */
const OLDEST = 80;

/** The first bytes of the file: how long the line is. */
const LENGTH_DIGITS = 12;

/** Kernels compiled by nvcc when the addon was built; none where there was no nvcc. */
export class ArchivedKernels {
  readonly #path: string;
  #index: Index | undefined;
  #start = 0;
  #isRead = false;

  constructor(path: string = archiveFile()) {
    this.#path = path;
  }

  #open(): Index | undefined {
    if (this.#isRead) return this.#index;
    this.#isRead = true;
    try {
      const length = Number(this.#bytes(0, LENGTH_DIGITS).toString());
      this.#index = JSON.parse(this.#bytes(LENGTH_DIGITS, length).toString()) as Index;
      this.#start = LENGTH_DIGITS + length;
    } catch {
      // No archive: kernels are compiled when first used.
    }
    return this.#index;
  }

  #bytes(from: number, length: number): Buffer {
    const file = openSync(this.#path, "r");
    try {
      const bytes = Buffer.alloc(length);
      if (readSync(file, bytes, 0, length, from) < length) throw new Error(`${this.#path} is cut short`);
      return bytes;
    } finally {
      closeSync(file);
    }
  }

  /** The code of a source by its hash, for devices of a target. */
  find(hash: string, target: string): Uint8Array | undefined {
    if (Number(/\d+/.exec(target)?.[0]) < OLDEST) return undefined;
    const place = this.#open()?.kernels[hash];
    return place === undefined ? undefined : this.#bytes(this.#start + place[0], place[1]);
  }

  /** For people. */
  get summary(): string {
    const index = this.#open();
    if (index === undefined) return "none compiled ahead of time: npm run cuda:kernels does, with nvcc";
    return `${Object.keys(index.kernels).length} sources compiled ahead of time for ${index.architectures}`;
  }
}

/** Writes an archive of code by the hash of its source. */
export function writeArchive(path: string, architectures: string, codes: ReadonlyMap<string, Uint8Array>): void {
  let offset = 0;
  const kernels: Record<string, readonly [number, number]> = {};
  for (const [hash, code] of codes) {
    kernels[hash] = [offset, code.length];
    offset += code.length;
  }
  const line = Buffer.from(`${JSON.stringify({ architectures, kernels } satisfies Index)}\n`);
  const digits = Buffer.from(String(line.length).padStart(LENGTH_DIGITS));
  writeWhole(dirname(path), basename(path), Buffer.concat([digits, line, ...codes.values()]));
}
