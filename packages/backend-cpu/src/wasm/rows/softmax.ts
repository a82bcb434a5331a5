import { f32, f32x4, i32, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { exp, log } from "../vector/functions.ts";
import type { VectorCode } from "../vector/vectors.ts";
import { beside, eachVector, loadRow, mapRow, maximumRow, RowTotal, storeRow, sumRow } from "./row.ts";
import { rowAt, rowFunction, splatAt, wordAt } from "./rowFunction.ts";

type L = Parameters<Parameters<typeof rowFunction>[4]>[1];

/** The largest element, in every lane. */
const topOf = (v: VectorCode, from: L, size: L): V128 => maximumRow(v, size, [from], (_, [a]) => a!);

const sumOfExp = (v: VectorCode, from: L, size: L, top: V128): V128 =>
  sumRow(v, size, [from], (w, [a]) => exp(w, w.sub(a!, beside(w, top))));

/** log Σ e^x of a row, in every lane. */
function logSumExp(v: VectorCode, from: L, size: L): V128 {
  const top = topOf(v, from, size);
  const total = sumOfExp(v, from, size, top);
  return v.f.let(f32x4.add(log(v.ofWidth(1), [total])[0]!, top));
}

export function emitSoftmax(m: ModuleBuilder, multiply: Multiply): void {
  rowFunction(m, multiply, "softmax", ["x", "y", "size"], (v, row, { x, y, size }) => {
    const { f } = v;
    const [from, to] = [f.let(rowAt(x, row, size)), f.let(rowAt(y, row, size))];
    const top = topOf(v, from, size);
    const total = RowTotal.sum(v);
    eachVector(v, size, [from, to], (w, [a, b], part) => {
      const weights = exp(w, w.sub(loadRow(w, a!), beside(w, top)));
      storeRow(w, b!, weights, part);
      total.take(w, weights, part);
    });
    const sum = total.value();
    mapRow(v, size, to, [to], (w, [weights]) => w.div(weights!, beside(w, sum)));
  });
}

/** dx = y · (g - Σ y·g) */
export function emitSoftmaxBackward(m: ModuleBuilder, multiply: Multiply): void {
  rowFunction(m, multiply, "softmaxBackward", ["y", "g", "dx", "size"], (v, row, { y, g, dx, size }) => {
    const [p, s] = [v.f.let(rowAt(y, row, size)), v.f.let(rowAt(g, row, size))];
    const dot = sumRow(v, size, [p, s], (w, [a, b]) => w.mul(a!, b!));
    mapRow(v, size, rowAt(dx, row, size), [p, s], (w, [a, b]) => w.mul(a!, w.sub(b!, beside(w, dot))));
  });
}

export function emitLogSoftmax(m: ModuleBuilder, multiply: Multiply): void {
  rowFunction(m, multiply, "logSoftmax", ["x", "y", "size"], (v, row, { x, y, size }) => {
    const from = v.f.let(rowAt(x, row, size));
    const shift = logSumExp(v, from, size);
    mapRow(v, size, rowAt(y, row, size), [from], (w, [a]) => w.sub(a!, beside(w, shift)));
  });
}

/** loss = log Σ e^x - x[target], zero where the target is negative; and the log-sum-exp. */
export function emitCrossEntropy(m: ModuleBuilder, multiply: Multiply): void {
  const parameters = ["x", "targets", "losses", "sums", "size"] as const;
  rowFunction(m, multiply, "crossEntropy", parameters, (v, row, { x, targets, losses, sums, size }) => {
    const { f } = v;
    const from = f.let(rowAt(x, row, size));
    const total = logSumExp(v, from, size);
    const target = f.let(i32.load(wordAt(targets, row)));
    const loss = f.let(f32.const(0));
    f.if(i32.geS(target, i32.const(0)), () =>
      f.set(loss, f32.sub(f32x4.lane(total, 0), f32.load(wordAt(from, target)))),
    );
    f.do(f32.store(wordAt(losses, row), loss));
    f.do(f32.store(wordAt(sums, row), f32x4.lane(total, 0)));
  });
}

/** dx = (e^(x - lse) - 1 at the target) · g, zero rows where the target is negative. */
export function emitCrossEntropyBackward(m: ModuleBuilder, multiply: Multiply): void {
  const parameters = ["x", "targets", "sums", "g", "dx", "size"] as const;
  rowFunction(m, multiply, "crossEntropyBackward", parameters, (v, row, { x, targets, sums, g, dx, size }) => {
    const { f } = v;
    const [from, to] = [f.let(rowAt(x, row, size)), f.let(rowAt(dx, row, size))];
    const target = f.let(i32.load(wordAt(targets, row)));
    const shift = splatAt(v, wordAt(sums, row));
    const scale = f.let(splatAt(v, wordAt(g, row)));
    f.if(i32.ltS(target, i32.const(0)), () => f.set(scale, v128.xor(scale, scale)));
    const slope = (w: VectorCode, x: Parameters<VectorCode["mul"]>[0], least: number) =>
      w.mul(w.sub(exp(w, w.sub(x, beside(w, shift))), w.float(least)), beside(w, scale));
    mapRow(v, size, to, [from], (w, [a]) => w.mul(exp(w, w.sub(a!, beside(w, shift))), beside(w, scale)));
    f.if(i32.geS(target, i32.const(0)), () => {
      const single = v.ofWidth(1);
      const [corrected] = slope(single, [splatAt(v, wordAt(from, target))], 1);
      f.do(f32.store(wordAt(to, target), f32x4.lane(corrected!, 0)));
    });
  });
}
