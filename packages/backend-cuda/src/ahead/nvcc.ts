import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { BackendError } from "@revnet-zero/tensor";
import { cacheFolder, writeWhole } from "../device/cacheFolder.ts";

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

/** What code is made for: the virtual architecture it is written in, and the real one, or that again for PTX. */
export type Target = readonly [arch: string, code: string];

/** Ampere as it came, Hopper with its own instructions, and PTX for what comes after. */
export const archivedTargets: readonly Target[] = [
  ["compute_80", "sm_80"],
  ["compute_90a", "sm_90a"],
  ["compute_80", "compute_80"],
];
export const namesOf = (targets: readonly Target[]): string => targets.map(([, code]) => code).join(", ");

/** nvcc's version, or undefined where there is none. */
export function nvccVersion(): string | undefined {
  try {
    return /release ([\d.]+)/.exec(execFileSync("nvcc", ["--version"], { encoding: "utf8" }))?.[1];
  } catch {
    return undefined;
  }
}

/** NVRTC's options, as nvcc spells them. */
const options = ["-std=c++17", "--fmad=false", "-w", "-Xptxas", "-v", "-fatbin"];

/** Compiles a source for every target. Throws with nvcc's words. */
async function compileOne(source: string, targets: readonly Target[]): Promise<Compiled> {
  const folder = mkdtempSync(join(tmpdir(), "revnet-nvcc-"));
  const [from, to] = [join(folder, "kernel.cu"), join(folder, "kernel.fatbin")];
  try {
    writeFileSync(from, source);
    const codes = targets.flatMap(([arch, code]) => ["-gencode", `arch=${arch},code=${code}`]);
    const { stderr } = await promisify(execFile)("nvcc", [...options, ...codes, "-o", to, from], { encoding: "utf8" });
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

/** Where compiled sources are kept: what an interrupted run had done, the next one need not do again. */
const keptFolder = (): string => join(cacheFolder(), "nvcc");

/** What was kept of a source, or what nvcc makes of it. */
async function compileKept(source: string, targets: readonly Target[], version: string): Promise<Compiled> {
  const how = JSON.stringify([version, options, targets]);
  const name = createHash("sha256").update(how).update(source).digest("hex").slice(0, 32);
  const [code, resources] = [`${name}.fatbin`, `${name}.json`];
  try {
    const text = readFileSync(join(keptFolder(), resources), "utf8");
    return { code: readFileSync(join(keptFolder(), code)), resources: JSON.parse(text) as Resources[] };
  } catch {
    const made = await compileOne(source, targets);
    writeWhole(keptFolder(), code, made.code);
    writeWhole(keptFolder(), resources, JSON.stringify(made.resources));
    return made;
  }
}

/** Compiles sources, as many at a time as the machine runs. Gives them by name. */
export async function compileAll(
  sources: ReadonlyMap<string, string>,
  targets: readonly Target[],
): Promise<Map<string, Compiled>> {
  const version = nvccVersion();
  if (version === undefined) throw new BackendError("cuda", "there is no nvcc on the PATH", "install the CUDA toolkit");
  const found = new Map<string, Compiled>();
  const left = [...sources];
  const work = async (): Promise<void> => {
    for (let next = left.pop(); next !== undefined; next = left.pop())
      found.set(next[0], await compileKept(next[1], targets, version));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}
