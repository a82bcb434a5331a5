import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type DType, dtypes } from "@revnet-zero/tensor";
import { nativeFolder } from "./addon.ts";

/** What C calls a stored element. */
export const cTypes: { readonly [D in DType]: string } = {
  f64: "double",
  f32: "float",
  bf16: "bf16",
  f16: "f16",
  i32: "int",
  i16: "i16",
  i8: "i8",
  u8: "u8",
  bool: "truth",
};

/** An unsigned type of the element's size, for what only moves. */
export const wordType = (dtype: DType): string => `u${8 * dtypes[dtype].bytes}`;

/** Kernels of one file, for one choice of types and constants. */
export interface KernelUnit {
  /** Files of native-cuda/kernels put one after another behind the prelude; the last names the unit. */
  readonly files: readonly string[];
  readonly types?: Readonly<Record<string, string>>;
  readonly constants?: Readonly<Record<string, string | number>>;
  /** Printed text that the last file calls, put before it. */
  readonly printed?: string;
}

/** Whether the kernels of a source wait themselves for the work before them (chain.cu), so that they may be launched before it is done. */
export const isChained = (source: string): boolean => source.includes(kernelText("chain"));

const texts = new Map<string, string>();

/** The files of native-cuda/kernels. */
export const kernelFiles = (): string[] =>
  readdirSync(join(nativeFolder(), "kernels"))
    .filter((name) => name.endsWith(".cu"))
    .map((name) => name.slice(0, -".cu".length))
    .sort();

/** The text of a file of native-cuda/kernels. */
export function kernelText(file: string): string {
  let text = texts.get(file);
  if (text === undefined) {
    text = readFileSync(join(nativeFolder(), "kernels", `${file}.cu`), "utf8");
    texts.set(file, text);
  }
  return text;
}

/** The whole source of a unit. Types are named before its files, and after those that are the same for every type. */
export function unitSource({ files, types = {}, constants = {}, printed }: KernelUnit): string {
  const names = [
    ...Object.entries(types).map(([name, type]) => `typedef ${type} ${name};`),
    ...Object.entries(constants).map(([name, value]) => `#define ${name} ${value}`),
  ];
  const texts = files.map(kernelText);
  if (printed !== undefined) texts.splice(-1, 0, printed);
  return [kernelText("prelude"), kernelText("block"), ...names, ...texts].join("\n");
}
