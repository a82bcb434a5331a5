import { i32, ModuleBuilder, v128 } from "../assembler/index.ts";
import type { Tile } from "../gemm/tile.ts";
import { fusedMultiply, type Multiply, roundedMultiply } from "../multiply.ts";
import { webAssembly } from "../webAssembly.ts";
import { faultOf, gainOfPairs } from "./selfTest.ts";

/**
 * What kernels are generated for. `wide` and `relaxed` give equal bits: the same instructions, which V8 may join in pairs to 256 bits.
 * `simd` rounds products before it adds. `scalar` is plain TypeScript, no WebAssembly.
 */
export type TierName = "wide" | "relaxed" | "simd" | "scalar";
export const tierNames: readonly TierName[] = ["wide", "relaxed", "simd", "scalar"];

export interface Tier {
  readonly name: Exclude<TierName, "scalar">;
  readonly tile: Tile;
  readonly multiply: Multiply;
}

/** Sums of a tile, a row of B and a splat must fit V8's 15 vector registers (pairs of them, when wide). */
const tiles = {
  wide: { rows: 6, columns: 16, unroll: 2 },
  narrow: { rows: 6, columns: 8, unroll: 2 },
  /** V8 before 13 moves loads up across the loop body: more splats live at once, no unrolling. */
  early: { rows: 4, columns: 8, unroll: 1 },
} as const;

/** Why a tier was chosen, for `info`. */
export interface Choice {
  readonly tier: Tier | undefined;
  readonly name: TierName;
  readonly why: string;
}

const v8Version = (): readonly [number, number] | undefined => {
  const { versions } = (globalThis as { process?: { versions?: { v8?: string } } }).process ?? {};
  const [major, minor] = versions?.v8?.split(".").map(Number) ?? [];
  return major === undefined || minor === undefined ? undefined : [major, minor];
};

/** An unknown flag prints an error and some abort the process: only those known to work in this V8 are set. */
function setFlag(flag: string): void {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const v8 = process?.getBuiltinModule?.("node:v8") as { setFlagsFromString(flag: string): void } | undefined;
  v8?.setFlagsFromString(flag);
}

/** The best tier here, or the one asked for; a tier that cannot run here is an error. */
export function chooseTier(wanted?: TierName): Choice {
  if (wanted === "scalar") return { tier: undefined, name: "scalar", why: "asked for" };
  const asked = wanted === undefined ? "best of this engine" : "asked for";
  if (!compiles("simd")) return refuse(wanted, "this engine has no WebAssembly SIMD");
  const simd: Tier = { name: "simd", tile: tiles.early, multiply: roundedMultiply };
  if (wanted === "simd") return { tier: simd, name: "simd", why: asked };
  const v8 = v8Version();
  if (v8 !== undefined && v8[0] === 11 && !compiles("relaxed")) setFlag("--experimental-wasm-relaxed-simd");
  const withoutFused = (why: string): Choice =>
    wanted === undefined ? { tier: simd, name: "simd", why } : refuse(wanted, why);
  if (!compiles("relaxed")) return withoutFused("this engine has no relaxed SIMD (fused multiply-add)");
  const reason = wanted === "relaxed" ? asked : noWide(v8);
  if (reason === undefined) setFlag("--experimental-wasm-revectorize");
  fault ??= faultOf(fusedMultiply) ?? "";
  if (fault !== "") return withoutFused(`self-test: ${fault}`);
  const isEarly = v8 !== undefined && v8[0] < 13;
  const relaxed: Tier = { name: "relaxed", tile: isEarly ? tiles.early : tiles.narrow, multiply: fusedMultiply };
  if (reason !== undefined) {
    return wanted === "wide" ? refuse(wanted, reason) : { tier: relaxed, name: "relaxed", why: reason };
  }
  const wide: Tier = { name: "wide", tile: tiles.wide, multiply: fusedMultiply };
  if (wanted === "wide") return { tier: wide, name: "wide", why: asked };
  // Timing chooses between tiers of equal bits alone.
  gain ??= gainOfPairs(fusedMultiply);
  return gain > 1
    ? { tier: wide, name: "wide", why: `${asked}, its self-test passed` }
    : { tier: relaxed, name: "relaxed", why: "self-test: V8 joins no vectors to 256 bits on this processor" };
}

/** What the self-test has found in this process: a fault ("" for none), and what joined vectors gain. */
let fault: string | undefined;
let gain: number | undefined;

function refuse(wanted: TierName | undefined, reason: string): Choice {
  if (wanted === undefined) return { tier: undefined, name: "scalar", why: reason };
  throw new RangeError(`tier "${wanted}" cannot run here: ${reason}`);
}

/** Why the 256-bit pairs are out of reach, if they are. The flag works from V8 13.6 to 14.x, on x64. */
function noWide(v8: readonly [number, number] | undefined): string | undefined {
  const { process } = globalThis as { process?: { arch?: string } };
  if (v8 === undefined) return "256-bit vectors can be switched on in Node alone";
  if (process?.arch !== "x64") return "128 bits are this processor's width";
  const [major, minor] = v8;
  const isKnown = (major === 13 && minor >= 6) || major === 14;
  return isKnown ? undefined : `V8 ${major}.${minor} cannot join 128-bit instructions (13.6 to 14 can)`;
}

const probes = new Map<string, boolean>();

function compiles(what: "simd" | "relaxed"): boolean {
  if (probes.get(what) === true) return true;
  const m = new ModuleBuilder({ maximumPages: 1, isShared: false });
  const { add } = what === "simd" ? roundedMultiply : fusedMultiply;
  m.function("probe", [], (f) => {
    const zero = i32.const(0);
    f.do(v128.store(zero, add(v128.load(zero), v128.load(zero), v128.load(zero))));
  });
  // A failure is not kept: a flag may change it.
  const answer = webAssembly?.validate(m.bytes()) ?? false;
  probes.set(what, answer);
  return answer;
}
