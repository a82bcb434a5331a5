import { type FunctionBuilder, type I32, i32, type Local } from "../assembler/index.ts";

/** The sizes of a convolution, as words in memory: more than one would pass as arguments. Channels and outputs are those of a group. */
export const geometryFields = [
  "groups",
  "channels",
  "height",
  "width",
  "outputs",
  "kernelHeight",
  "kernelWidth",
  "strideY",
  "strideX",
  "paddingY",
  "paddingX",
  "dilationY",
  "dilationX",
  "rows",
  "columns",
] as const;
type Field = (typeof geometryFields)[number];
export type Geometry = { readonly [K in Field]: number };

/** Unfolded image words that a thread holds: taps by positions. The taps are those of a block of the matrix product. */
export const unfolded = { taps: 256, positions: 256 } as const;
export const UNFOLDED_ROW_BYTES: number = 4 * unfolded.positions;
export const CONV_SCRATCH_BYTES: number = UNFOLDED_ROW_BYTES * unfolded.taps;

type L = Local<"i32">;

/** The geometry at an address, each size in a local. */
export interface Sizes extends Readonly<Record<Field, L>> {
  /** Of one channel's kernel. */
  readonly taps: L;
  /** Taps of all channels. */
  readonly k: L;
  readonly positions: L;
  readonly planeBytes: L;
}

export function sizesAt(f: FunctionBuilder, address: I32): Sizes {
  const fields = Object.fromEntries(
    geometryFields.map((name, i) => [name, f.let(i32.load(address, 4 * i))]),
  ) as Readonly<Record<Field, L>>;
  const taps = f.let(i32.mul(fields.kernelHeight, fields.kernelWidth));
  return {
    ...fields,
    taps,
    k: f.let(i32.mul(fields.channels, taps)),
    positions: f.let(i32.mul(fields.rows, fields.columns)),
    planeBytes: f.let(i32.shl(i32.mul(fields.height, fields.width), i32.const(2))),
  };
}
