import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ArchivedKernels } from "../ahead/archive.ts";
import type { NativeCuda } from "./binding.ts";
import { cacheFolder, writeWhole } from "./cacheFolder.ts";
import { builtinsBeside, openLibrary } from "./libraries.ts";

/** NVRTC's options for a target, and the name that a source's machine code is kept by. */
export function planCompilation(source: string, target: string): { readonly options: string[]; readonly name: string } {
  const options = [`--gpu-architecture=${target}`, "--std=c++17", "--fmad=false"];
  return { options, name: hashOf(options.join(" "), source) };
}

/** The name of a source in an archive, whatever the architecture. */
export const archivedName = (source: string): string => hashOf("--std=c++17 --fmad=false", source);

const hashOf = (options: string, source: string): string =>
  createHash("sha256").update(options).update(source).digest("hex").slice(0, 32);

/**
 * Kernels from source. Machine code is looked for among what was compiled ahead of time, then among what earlier runs
 * compiled; only what is in neither needs NVRTC, which is opened then. No multiplication is contracted with an addition unless
 * a kernel says fma: fused or not, the same numbers.
 */
export class Compiler {
  readonly #native: NativeCuda;
  readonly #major: number;
  readonly #target: string;
  readonly #folders: readonly string[];
  readonly #archive = new ArchivedKernels();
  #isOpen = false;
  /** How many kernels were compiled, and in what time. */
  compiled = 0;
  compileMs = 0;

  /** `target`: sm_90a; `ahead`: the folder of kernels compiled ahead of time. */
  constructor(native: NativeCuda, driverMajor: number, target: string, ahead: string) {
    this.#native = native;
    this.#major = driverMajor;
    this.#target = target;
    this.#folders = [join(ahead, target), join(cacheFolder(), target)];
  }

  /** The machine code of a source. */
  compile(source: string, name: string): Uint8Array {
    const archived = this.#archive.find(archivedName(source), this.#target);
    if (archived !== undefined) return archived;
    const { options, name: hash } = planCompilation(source, this.#target);
    for (const folder of this.#folders) {
      try {
        return readFileSync(join(folder, `${hash}.cubin`));
      } catch {
        // not there: the next place
      }
    }
    const start = performance.now();
    this.#open();
    const code = this.#native.compile(source, `${name}.cu`, options);
    this.compiled++;
    this.compileMs += performance.now() - start;
    // The source lies beside it: for whoever compiles ahead of time, or looks for what a kernel does.
    keep(this.#folders[1]!, `${hash}.cu`, source);
    keep(this.#folders[1]!, `${hash}.cubin`, code);
    return code;
  }

  #open(): void {
    if (this.#isOpen) return;
    openLibrary("nvrtc", this.#major, (path) => this.#native.openCompiler(path, builtinsBeside(path)));
    this.#isOpen = true;
  }
}

/** A folder that cannot be written is no error. */
function keep(folder: string, name: string, code: Uint8Array | string): void {
  try {
    writeWhole(folder, name, code);
  } catch {
    // compiled again next time
  }
}
