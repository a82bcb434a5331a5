import { f32x4, f64, f64x2, i32, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { beside, eachVector, loadRow, storeRow } from "./row.ts";
import { splatAt, splatBits, wordAt } from "./rowFunction.ts";

type L = Local<"i32">;

/** Elements whose squares are summed together. */
export const NORM_BLOCK = 4096;

/**
 * Sums of squares in float64, one for each block of NORM_BLOCK elements; units are blocks.
 * Parameters: scratch, from, to, x, size, sums.
 */
export function emitSquares(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 6 }, () => "i32" as const);
  m.function("squares", types, (f, _scratch, from, to, x, size, sums) => {
    const v = new VectorCode(f, 2, multiply);
    const [block, first, count] = f.locals("i32", 3) as [L, L, L];
    const totals = f.locals("v128", 4);
    f.for(block, from, to, 1, () => {
      f.set(first, i32.mul(block, i32.const(NORM_BLOCK)));
      f.set(count, i32.min(i32.sub(size, first), i32.const(NORM_BLOCK)));
      for (const t of totals) f.set(t, v128.xor(t, t));
      eachVector(v, count, [wordAt(x, first)], (w, [at], part) => {
        loadRow(w, at!).forEach((loaded, i) => {
          const value = part === undefined ? loaded : f.let(v128.and(loaded, part.mask));
          const upper = f.let(v128.lanes32(value, value, [2, 3, 2, 3]));
          [value, upper].forEach((half, k) => {
            const wide = f.let(f64x2.promoteLow(half));
            const total = totals[2 * i + k]!;
            f.set(total, f64x2.add(total, f64x2.mul(wide, wide)));
          });
        });
      });
      const [a, b, c, d] = totals as readonly V128[] as readonly [V128, V128, V128, V128];
      const sum = f.let(f64x2.add(f64x2.add(a, b), f64x2.add(c, d)));
      const both = f64.add(f64x2.lane(sum, 0), f64x2.lane(sum, 1));
      f.do(f64.store(i32.add(sums, i32.shl(block, i32.const(3))), both));
    });
  });
}

/** The constants of an AdamW step, as bits of floats. */
export const adamwConstants = [
  "learningRate",
  "beta1",
  "rest1",
  "beta2",
  "rest2",
  "correction1",
  "correction2",
  "eps",
  "weightDecay",
] as const;

/**
 * One parameter's AdamW step in place; units are elements. Parameters: scratch, from, to, gradient, the address of its
 * factor, parameter, both moments, then the constants.
 */
export function emitAdamw(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 8 + adamwConstants.length }, () => "i32" as const);
  m.function("adamw", types, (f, _scratch, from, to, gradient, factorAt, parameter, moment, square, ...bits) => {
    const v = new VectorCode(f, 4, multiply);
    const factor = splatAt(v, factorAt);
    const constants = bits.map((b) => splatBits(v, b as L));
    const starts = [gradient, parameter, moment, square].map((base) => wordAt(base, from));
    eachVector(v, i32.sub(to, from), starts, (w, [g, p, m1, m2], part) => {
      const [learningRate, beta1, rest1, beta2, rest2, correction1, correction2, eps, weightDecay] = constants.map(
        (c) => beside(w, c),
      ) as [Vectors, Vectors, Vectors, Vectors, Vectors, Vectors, Vectors, Vectors, Vectors];
      const slope = w.mul(loadRow(w, g!), beside(w, factor));
      const mean = w.add(w.mul(beta1, loadRow(w, m1!)), w.mul(rest1, slope));
      const spread = w.add(w.mul(beta2, loadRow(w, m2!)), w.mul(w.mul(rest2, slope), slope));
      storeRow(w, m1!, mean, part);
      storeRow(w, m2!, spread, part);
      const size = w.add(w.unary(f32x4.sqrt, w.div(spread, correction2)), eps);
      const before = loadRow(w, p!);
      const update = w.add(w.div(w.div(mean, correction1), size), w.mul(weightDecay, before));
      storeRow(w, p!, w.sub(before, w.mul(learningRate, update)), part);
    });
  });
}

/** 1 with the sign of x; zeros and NaN stay. */
function signs(w: VectorCode, x: Vectors): Vectors {
  const signed = w.binary(v128.or, w.binary(v128.and, x, w.int(-2147483648)), w.float(1));
  const isNonzero = w.binary(v128.or, w.binary(f32x4.lt, x, w.float(0)), w.binary(f32x4.gt, x, w.float(0)));
  return w.select(isNonzero, signed, x);
}

/** The constants of a Lion step, as bits of floats. */
export const lionConstants = ["learningRate", "beta1", "rest1", "beta2", "rest2", "weightDecay"] as const;

/**
 * One parameter's Lion step in place, rounded where its decomposition rounds; units are elements. Parameters: scratch, from, to,
 * gradient, the address of its factor, parameter, momentum, then the constants.
 */
export function emitLion(m: ModuleBuilder, multiply: Multiply): void {
  const types = Array.from({ length: 7 + lionConstants.length }, () => "i32" as const);
  m.function("lion", types, (f, _scratch, from, to, gradient, factorAt, parameter, momentum, ...bits) => {
    const v = new VectorCode(f, 4, multiply);
    const factor = splatAt(v, factorAt);
    const constants = bits.map((b) => splatBits(v, b as L));
    const starts = [gradient, parameter, momentum].map((base) => wordAt(base, from));
    eachVector(v, i32.sub(to, from), starts, (w, [g, p, m1], part) => {
      const [learningRate, beta1, rest1, beta2, rest2, weightDecay] = constants.map((c) => beside(w, c)) as [
        Vectors,
        Vectors,
        Vectors,
        Vectors,
        Vectors,
        Vectors,
      ];
      const slope = w.mul(loadRow(w, g!), beside(w, factor));
      const mean = loadRow(w, m1!);
      const direction = signs(w, w.add(w.mul(beta1, mean), w.mul(rest1, slope)));
      const before = loadRow(w, p!);
      const update = w.mul(learningRate, w.add(direction, w.mul(weightDecay, before)));
      storeRow(w, p!, w.sub(before, update), part);
      storeRow(w, m1!, w.add(w.mul(beta2, mean), w.mul(rest2, slope)), part);
    });
  });
}
