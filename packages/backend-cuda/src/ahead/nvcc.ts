import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** What ptxas says of one kernel on one architecture. */
export interface Resources {
  readonly kernel: string;
  readonly architecture: string;
  readonly registers: number;
  readonly stackBytes: number;
  readonly spillBytes: number;
}

export interface Compiled {
  readonly code: Uint8Array;
  readonly resources: readonly Resources[];
}

/** Ampere as it came, Hopper with its own instructions, and PTX for what comes after. */
const targets = [
  ["compute_80", "sm_80"],
  ["compute_90a", "sm_90a"],
  ["compute_80", "compute_80"],
] as const;
export const architectures: string = targets.map(([, code]) => code).join(", ");

/** nvcc's version, or undefined where there is none. */
export function nvccVersion(): string | undefined {
  try {
    return /release ([\d.]+)/.exec(execFileSync("nvcc", ["--version"], { encoding: "utf8" }))?.[1];
  } catch {
    return undefined;
  }
}

/** Compiles a source for every architecture, with NVRTC's options. Throws with nvcc's words. */
async function compileOne(source: string): Promise<Compiled> {
  const folder = mkdtempSync(join(tmpdir(), "revnet-nvcc-"));
  const [from, to] = [join(folder, "kernel.cu"), join(folder, "kernel.fatbin")];
  try {
    writeFileSync(from, source);
    const options = ["-std=c++17", "--fmad=false", "-w", "-Xptxas", "-v", "-fatbin", "-o", to];
    const codes = targets.flatMap(([arch, code]) => ["-gencode", `arch=${arch},code=${code}`]);
    const { stderr } = await promisify(execFile)("nvcc", [...options, ...codes, from], { encoding: "utf8" });
    return { code: readFileSync(to), resources: resourcesOf(stderr) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Reads `ptxas -v`. */
export function resourcesOf(text: string): Resources[] {
  const found: Resources[] = [];
  for (const part of text.split("Compiling entry function ").slice(1)) {
    const [, kernel = "", architecture = ""] = /^'(\w+)' for '(\w+)'/.exec(part) ?? [];
    const [, stack, stores, loads] =
      /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(part) ?? [];
    const [, registers] = /Used (\d+) registers/.exec(part) ?? [];
    found.push({
      ...{ kernel, architecture, registers: Number(registers), stackBytes: Number(stack) },
      spillBytes: Number(stores) + Number(loads),
    });
  }
  return found;
}

/** Compiles sources, as many at a time as the machine runs. Gives them by name. */
export async function compileAll(
  sources: ReadonlyMap<string, string>,
  atOnce: number = availableParallelism(),
): Promise<Map<string, Compiled>> {
  const found = new Map<string, Compiled>();
  const left = [...sources];
  const work = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) found.set(next[0], await compileOne(next[1]));
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}
