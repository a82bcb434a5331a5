import { type DType, isFloat, promote } from "../dtype.ts";
import { ValueError } from "../errors.ts";
import type { ElementwiseOp } from "../op.ts";
import * as binary from "../ops/binary.ts";
import { cast } from "../ops/copy.ts";
import { dequantise, quantise } from "../ops/fixedPoint.ts";
import { dropout } from "../ops/random.ts";
import * as unary from "../ops/unary.ts";
import { where } from "../ops/where.ts";
import type { Key } from "../rng.ts";
import type { Shape } from "../shape.ts";
import type { Broadcast } from "../types.ts";
import { TensorBase } from "./base.ts";
import { dispatch } from "./dispatch.ts";
import type { Tensor } from "./tensor.ts";

type Operand<T extends Shape = Shape> = Tensor<T> | number;

/** Arithmetic element by element. Operands broadcast and meet in their promoted dtype; numbers take the tensor's. */
export abstract class ElementwiseTensor<S extends Shape = Shape> extends TensorBase<S> {
  #unary(op: ElementwiseOp): Tensor<S> {
    return this.apply(op, [this.self], undefined) as Tensor<S>;
  }

  #binary(op: ElementwiseOp, y: Operand, floats = false): Tensor {
    const other = this.#operand(y);
    const met = promote(this.dtype, other.dtype);
    const dtype = floats && !isFloat(met) ? "f32" : met;
    const made: Tensor[] = other === y ? [] : [other];
    const meet = (t: Tensor): Tensor => {
      const converted = t.cast(dtype);
      if (converted !== t) made.push(converted);
      return converted;
    };
    try {
      return this.apply(op, [meet(this.self), meet(other)], undefined);
    } finally {
      // Temporaries made here die here, not at the end of the caller's scope.
      for (const t of made) t.dispose();
    }
  }

  /** A number as a scalar tensor: of this dtype, or f32 when a fraction meets integers. */
  #operand(y: Operand): Tensor {
    if (typeof y !== "number") return y;
    const needsFloat = !isFloat(this.dtype) && (this.dtype === "bool" || !Number.isInteger(y));
    return this.fullOf([], y, needsFloat ? "f32" : this.dtype);
  }

  add<const T extends Shape = []>(y: Operand<T>): Tensor<Broadcast<S, T>> {
    return this.#binary(binary.add, y) as Tensor<Broadcast<S, T>>;
  }
  sub<const T extends Shape = []>(y: Operand<T>): Tensor<Broadcast<S, T>> {
    return this.#binary(binary.sub, y) as Tensor<Broadcast<S, T>>;
  }
  mul<const T extends Shape = []>(y: Operand<T>): Tensor<Broadcast<S, T>> {
    return this.#binary(binary.mul, y) as Tensor<Broadcast<S, T>>;
  }
  /** True division: integers give f32. */
  div<const T extends Shape = []>(y: Operand<T>): Tensor<Broadcast<S, T>> {
    return this.#binary(binary.div, y, true) as Tensor<Broadcast<S, T>>;
  }
  /** Remainder with the sign of y. */
  mod(y: Operand): Tensor {
    return this.#binary(binary.mod, y, true);
  }
  pow(y: Operand): Tensor {
    return this.#binary(binary.pow, y, true);
  }
  minimum(y: Operand): Tensor {
    return this.#binary(binary.minimum, y);
  }
  maximum(y: Operand): Tensor {
    return this.#binary(binary.maximum, y);
  }
  /** Angle of the points (x = the argument, y = this). */
  atan2(x: Operand): Tensor {
    return this.#binary(binary.atan2, x, true);
  }

  /** @internal `this + y`, written over this tensor's buffer when nobody else holds it. This handle stays valid. */
  addDonating(y: Tensor): Tensor {
    return dispatch(this.engine, binary.add, [this.self, y], undefined, { donates: true })[0]!;
  }

  equal(y: Operand): Tensor {
    return this.#binary(binary.equal, y);
  }
  notEqual(y: Operand): Tensor {
    return this.#binary(binary.notEqual, y);
  }
  less(y: Operand): Tensor {
    return this.#binary(binary.less, y);
  }
  lessEqual(y: Operand): Tensor {
    return this.#binary(binary.lessEqual, y);
  }
  greater(y: Operand): Tensor {
    return this.#binary(binary.greater, y);
  }
  greaterEqual(y: Operand): Tensor {
    return this.#binary(binary.greaterEqual, y);
  }
  logicalAnd(y: Tensor): Tensor {
    return this.#binary(binary.logicalAnd, y);
  }
  logicalOr(y: Tensor): Tensor {
    return this.#binary(binary.logicalOr, y);
  }
  logicalXor(y: Tensor): Tensor {
    return this.#binary(binary.logicalXor, y);
  }
  logicalNot(): Tensor {
    return this.#unary(unary.logicalNot);
  }
  bitwiseAnd(y: Operand): Tensor {
    return this.#binary(binary.bitwiseAnd, y);
  }
  bitwiseOr(y: Operand): Tensor {
    return this.#binary(binary.bitwiseOr, y);
  }
  bitwiseXor(y: Operand): Tensor {
    return this.#binary(binary.bitwiseXor, y);
  }
  bitwiseNot(): Tensor {
    return this.#unary(unary.bitwiseNot);
  }
  shiftLeft(y: Operand): Tensor {
    return this.#binary(binary.shiftLeft, y);
  }
  shiftRight(y: Operand): Tensor {
    return this.#binary(binary.shiftRight, y);
  }

  /** `x` where this (bool) is true, else `y`. */
  where(x: Operand, y: Operand): Tensor {
    const anchor = typeof x !== "number" ? x : y;
    if (typeof anchor === "number")
      throw new ValueError("where", "both values are numbers", "make one a tensor to say the dtype");
    const lift = (v: Operand): Tensor => (typeof v === "number" ? this.fullOf([], v, anchor.dtype) : v);
    return this.engine.scope(() => {
      const [a, b] = [lift(x), lift(y)];
      const dtype = promote(a.dtype, b.dtype);
      return this.apply(where, [this.self, a.cast(dtype), b.cast(dtype)], undefined);
    }, "where");
  }

  neg(): Tensor<S> {
    return this.#unary(unary.neg);
  }
  abs(): Tensor<S> {
    return this.#unary(unary.abs);
  }
  sign(): Tensor<S> {
    return this.#unary(unary.sign);
  }
  exp(): Tensor<S> {
    return this.#unary(unary.exp);
  }
  expm1(): Tensor<S> {
    return this.#unary(unary.expm1);
  }
  log(): Tensor<S> {
    return this.#unary(unary.log);
  }
  log1p(): Tensor<S> {
    return this.#unary(unary.log1p);
  }
  sqrt(): Tensor<S> {
    return this.#unary(unary.sqrt);
  }
  rsqrt(): Tensor<S> {
    return this.#unary(unary.rsqrt);
  }
  reciprocal(): Tensor<S> {
    return this.#unary(unary.reciprocal);
  }
  square(): Tensor<S> {
    return this.#unary(unary.square);
  }
  sin(): Tensor<S> {
    return this.#unary(unary.sin);
  }
  cos(): Tensor<S> {
    return this.#unary(unary.cos);
  }
  tanh(): Tensor<S> {
    return this.#unary(unary.tanh);
  }
  sigmoid(): Tensor<S> {
    return this.#unary(unary.sigmoid);
  }
  erf(): Tensor<S> {
    return this.#unary(unary.erf);
  }
  relu(): Tensor<S> {
    return this.#unary(unary.relu);
  }
  /** Tanh form; `geluExact` is the error-function form. */
  gelu(): Tensor<S> {
    return this.#unary(unary.gelu);
  }
  geluExact(): Tensor<S> {
    return this.#unary(unary.geluExact);
  }
  silu(): Tensor<S> {
    return this.#unary(unary.silu);
  }
  softplus(): Tensor<S> {
    return this.#unary(unary.softplus);
  }
  floor(): Tensor<S> {
    return this.#unary(unary.floor);
  }
  ceil(): Tensor<S> {
    return this.#unary(unary.ceil);
  }
  trunc(): Tensor<S> {
    return this.#unary(unary.trunc);
  }
  /** To the nearest integer, ties to even. */
  round(): Tensor<S> {
    return this.#unary(unary.round);
  }
  isNaN(): Tensor<S> {
    return this.#unary(unary.isNan);
  }
  isFinite(): Tensor<S> {
    return this.#unary(unary.finite);
  }

  /** The values in another dtype; this very tensor when it has it already. */
  cast(dtype: DType): Tensor<S> {
    return (dtype === this.dtype ? this.self : this.apply(cast, [this.self], { dtype })) as Tensor<S>;
  }

  /** f32 to fixed point i32 · 2^-fractionBits (see docs/reversibility.md). */
  quantise(fractionBits: number): Tensor<S> {
    return this.apply(quantise, [this.self], { fractionBits }) as Tensor<S>;
  }
  /** Fixed point to f32. */
  dequantise(fractionBits: number): Tensor<S> {
    return this.apply(dequantise, [this.self], { fractionBits }) as Tensor<S>;
  }

  /** Zeroes elements with probability p by the key's mask and scales the rest by 1 / (1 - p). */
  dropout(p: number, key: Key): Tensor<S> {
    return this.apply(dropout, [this.self], { p, key }) as Tensor<S>;
  }
}
