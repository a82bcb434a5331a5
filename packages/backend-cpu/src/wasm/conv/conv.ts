import { type FunctionBuilder, type I32, i32, type Local, type ModuleBuilder } from "../assembler/index.ts";
import { emitGemm } from "../gemm/gemm.ts";
import { gemmScratchBytes, type Tile } from "../gemm/tile.ts";
import type { Multiply } from "../multiply.ts";
import { mapRow } from "../rows/row.ts";
import { VectorCode } from "../vector/vectors.ts";
import { type Sizes, sizesAt, UNFOLDED_ROW_BYTES, unfolded } from "./geometry.ts";
import { emitFold, emitUnfold } from "./unfold.ts";

// Convolutions as matrix products of weights [outputs, taps], gradients [outputs, positions] and unfolded images [taps, positions], of which
// a thread holds one block at a time. Images are [n, groups · channels, height, width]; "image" below is one group of one of them.

type L = Local<"i32">;

/** A matrix in memory, steps in bytes. */
interface Operand {
  readonly at: I32;
  readonly row: I32;
  readonly column: I32;
}
const bytes = (count: I32): I32 => i32.shl(count, i32.const(2));
const at = (base: I32, index: I32, step: I32): I32 => i32.add(base, i32.mul(index, step));
const word = (base: I32, index: I32): I32 => i32.add(base, bytes(index));
const four = i32.const(4);

interface Conv {
  readonly f: FunctionBuilder;
  readonly v: VectorCode;
  readonly sizes: Sizes;
  readonly geometry: L;
  /** The thread's block of unfolded words. */
  readonly block: L;
  multiply(rows: I32, columns: I32, k: I32, a: Operand, b: Operand, c: Operand, isAdded: I32): void;
  /** Runs `body` for blocks of [from, to): the first and the end. */
  each(from: I32, to: I32, most: number, body: (from: L, to: L) => void): void;
}

/** The three functions; their units are parts of the output that nobody else writes. */
export function emitConv(m: ModuleBuilder, tile: Tile, multiply: Multiply): void {
  const { gemm } = emitGemm(m, tile, multiply);
  const [unfold, fold] = [emitUnfold(m, multiply), emitFold(m, multiply)];
  const define = <const P extends readonly string[]>(
    name: string,
    parameters: P,
    write: (conv: Conv, unit: L, given: { readonly [K in P[number]]: L }) => void,
  ): void => {
    const types = Array.from({ length: 4 + parameters.length }, () => "i32" as const);
    m.function(name, types, (f, ...locals) => {
      const [scratch, from, to, geometry, ...rest] = locals as unknown as [L, L, L, L, ...L[]];
      const given = Object.fromEntries(parameters.map((p, i) => [p, rest[i]!])) as { readonly [K in P[number]]: L };
      const conv: Conv = {
        f,
        v: new VectorCode(f, 4, multiply),
        sizes: sizesAt(f, geometry),
        geometry,
        block: f.let(i32.add(scratch, i32.const(gemmScratchBytes(tile)))),
        multiply: (rows, columns, k, a, b, c, isAdded) =>
          f.call(
            gemm,
            ...[scratch, rows, columns, k, a.at, a.row, a.column, b.at, b.row, b.column, c.at, c.row],
            ...[isAdded, i32.const(0)],
          ),
        each: (first, last, most, body) => {
          const [start, end] = [f.local("i32"), f.local("i32")];
          f.for(start, first, last, most, () => {
            f.set(end, i32.min(last, i32.add(start, i32.const(most))));
            body(start, end);
          });
        },
      };
      const unit = f.local("i32");
      f.for(unit, from, to, 1, () => write(conv, unit, given));
    });
  };
  const inBlock = (block: L): Operand => ({ at: block, row: i32.const(UNFOLDED_ROW_BYTES), column: four });

  // y[o, p] = Σ w[o, t] · unfolded[t, p]; units are blocks of positions of images.
  define("conv", ["x", "w", "y", "blocks"], (conv, unit, { x, w, y, blocks }) => {
    const { f, sizes, geometry, block } = conv;
    const { outputs, k, positions, groups } = sizes;
    const image = f.let(i32.divU(unit, blocks));
    const from = f.let(i32.mul(i32.remU(unit, blocks), i32.const(unfolded.positions)));
    const to = f.let(i32.min(positions, i32.add(from, i32.const(unfolded.positions))));
    const pixels = f.let(at(x, i32.mul(image, sizes.channels), sizes.planeBytes));
    const weights = f.let(word(w, i32.mul(i32.mul(i32.remU(image, groups), outputs), k)));
    const c = {
      at: f.let(word(y, i32.add(i32.mul(i32.mul(image, outputs), positions), from))),
      row: bytes(positions),
      column: four,
    };
    conv.each(i32.const(0), k, unfolded.taps, (first, last) => {
      f.call(unfold, block, pixels, geometry, first, last, from, to);
      const a = { at: word(weights, first), row: bytes(k), column: four };
      conv.multiply(outputs, i32.sub(to, from), i32.sub(last, first), a, inBlock(block), c, first);
    });
  });

  // unfolded dx[t, p] = Σ w[o, t] · g[o, p], folded; units are blocks of channels of images.
  define("convInputGradient", ["g", "w", "dx", "some", "blocks"], (conv, unit, { g, w, dx, some, blocks }) => {
    const { f, v, sizes, geometry, block } = conv;
    const { outputs, k, positions, groups, channels, taps } = sizes;
    const image = f.let(i32.divU(unit, blocks));
    const channel = f.let(i32.mul(i32.remU(unit, blocks), some));
    const end = f.let(i32.min(channels, i32.add(channel, some)));
    const pixels = f.let(at(dx, i32.mul(image, channels), sizes.planeBytes));
    const weights = f.let(word(w, i32.mul(i32.mul(i32.remU(image, groups), outputs), k)));
    const slopes = f.let(word(g, i32.mul(i32.mul(image, outputs), positions)));
    const size = f.let(i32.mul(i32.sub(end, channel), i32.mul(sizes.height, sizes.width)));
    mapRow(v, size, at(pixels, channel, sizes.planeBytes), [], (u) => u.float(0));
    conv.each(i32.const(0), positions, unfolded.positions, (from, to) => {
      const b = { at: word(slopes, from), row: bytes(positions), column: four };
      conv.each(f.let(i32.mul(channel, taps)), f.let(i32.mul(end, taps)), unfolded.taps, (first, last) => {
        const a = { at: word(weights, first), row: four, column: bytes(k) };
        conv.multiply(i32.sub(last, first), i32.sub(to, from), outputs, a, b, inBlock(block), i32.const(0));
        f.call(fold, block, pixels, geometry, first, last, from, to);
      });
    });
  });

  // dw[o, t] = Σ over images of Σ g[o, p] · unfolded[t, p]; units are blocks of channels by blocks of outputs of groups.
  const parameters = ["g", "x", "dw", "images", "some", "blocks", "few", "bands"] as const;
  define("convWeightGradient", parameters, (conv, unit, { g, x, dw, images, some, blocks, few, bands }) => {
    const { f, sizes, geometry, block } = conv;
    const { outputs, k, positions, groups, channels, taps } = sizes;
    const channel = f.let(i32.mul(i32.remU(unit, blocks), some));
    const rest = f.let(i32.divU(unit, blocks));
    const output = f.let(i32.mul(i32.remU(rest, bands), few));
    const group = f.let(i32.divU(rest, bands));
    const rows = f.let(i32.min(few, i32.sub(outputs, output)));
    const end = f.let(i32.mul(i32.min(channels, i32.add(channel, some)), taps));
    const target = f.let(word(dw, i32.mul(i32.add(i32.mul(group, outputs), output), k)));
    const n = f.local("i32");
    f.for(n, i32.const(0), images, 1, () => {
      const image = f.let(i32.add(i32.mul(n, groups), group));
      const pixels = f.let(at(x, i32.mul(image, channels), sizes.planeBytes));
      const slopes = f.let(word(g, i32.mul(i32.add(i32.mul(image, outputs), output), positions)));
      conv.each(i32.const(0), positions, unfolded.positions, (from, to) => {
        conv.each(f.let(i32.mul(channel, taps)), end, unfolded.taps, (first, last) => {
          f.call(unfold, block, pixels, geometry, first, last, from, to);
          const a = { at: word(slopes, from), row: bytes(positions), column: four };
          const b = { at: block, row: four, column: i32.const(UNFOLDED_ROW_BYTES) };
          const c = { at: word(target, first), row: bytes(k), column: four };
          conv.multiply(rows, i32.sub(last, first), i32.sub(to, from), a, b, c, i32.or(n, from));
        });
      });
    });
  });
}
