import {
  type F32,
  f32,
  f32x4,
  type I32,
  i32,
  i32x4,
  type Local,
  type ModuleBuilder,
  type V128,
  v128,
} from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { storeVectors } from "../vector/memory.ts";
import { VectorCode } from "../vector/vectors.ts";
import { beside, eachVector, loadRow, mapRow } from "./row.ts";

// Products of a matrix with one to four vectors: every word of the matrix is read once, from where it lies, and the vectors stay in the
// cache. Memory bound: 2 to 8 flops for four bytes. Lines are rows or columns of the matrix, whichever a result belongs to; steps are summed.

type L = Local<"i32">;

/** Steps whose sum joins the total together: an error grows with the block and the number of blocks, not with k. */
const blockSteps = { dots: 4096, sums: 256 } as const;
/** Lines whose sums a thread holds at once, in the cache nearest to it. */
const LINES = 1024;
/** Steps added to a sum while it is in a register. */
const GROUP = 4;

const names = [
  "k",
  "w",
  "wBytes",
  "x",
  "xThin",
  "xStep",
  "c",
  "cLine",
  "cThin",
  "isAdded",
  "bias",
  "biasLine",
  "biasThin",
] as const;
type Given = { readonly [K in (typeof names)[number]]: L };

/** Result i of a line: what was there, the sum, the bias, in the order of the blocked product. */
function finish(v: VectorCode, given: Given, line: L, i: number, sum: F32): void {
  const { f } = v;
  const { c, cLine, cThin, isAdded, bias, biasLine, biasThin } = given;
  const at = (base: I32, lineBytes: L, thinBytes: L): I32 =>
    i32.add(i32.add(base, i32.mul(line, lineBytes)), i32.mul(thinBytes, i32.const(i)));
  const to = f.let(at(c, cLine, cThin));
  const value = f.let(sum);
  f.if(isAdded, () => f.set(value, f32.add(f32.load(to), value)));
  f.if(bias, () => f.set(value, f32.add(value, f32.load(at(bias, biasLine, biasThin)))));
  f.do(f32.store(to, value));
}

type Body = (v: VectorCode, scratch: L, from: L, to: L, given: Given) => void;

/**
 * A product by lines [from, to), and one by matrices [from, to) of a batch. Of w, `wBytes` is the stride that is not 4.
 * Batch parameters: scratch, from, to, then lines, the bytes between matrices of w, x and c, and the rest.
 */
function emitThin(m: ModuleBuilder, multiply: Multiply, name: string, body: Body): void {
  const types = (n: number): "i32"[] => Array.from({ length: n }, () => "i32");
  const product = m.function(name, types(3 + names.length), (f, ...locals) => {
    const [scratch, from, to, ...rest] = locals as unknown as [L, L, L, ...L[]];
    const given = Object.fromEntries(names.map((n, i) => [n, rest[i]!])) as Given;
    body(new VectorCode(f, 4, multiply), scratch, from, to, given);
  });
  m.function(`${name}Batches`, types(7 + names.length), (f, ...locals) => {
    const [scratch, from, to, lines, wBatch, xBatch, cBatch, ...rest] = locals as unknown as [
      L,
      L,
      L,
      L,
      L,
      L,
      L,
      ...L[],
    ];
    const steps: Partial<Record<string, L>> = { w: wBatch, x: xBatch, c: cBatch };
    const i = f.local("i32");
    f.for(i, from, to, 1, () => {
      const moved = names.map((n, p) => {
        const step = steps[n];
        return step === undefined ? rest[p]! : i32.add(rest[p]!, i32.mul(i, step));
      });
      f.call(product, scratch, i32.const(0), lines, ...moved);
    });
  });
}

const thins = (thin: number): number[] => Array.from({ length: thin }, (_, i) => i);

/** Steps side by side, in the vectors too: a dot product for every line and vector. */
export function emitThinDots(m: ModuleBuilder, multiply: Multiply, thin: number): void {
  // Sums of all vectors, a few words of the line and of a vector fit V8's 15 registers.
  const width = thin <= 2 ? 4 : 2;
  emitThin(m, multiply, "thinDots", (whole, scratch, from, to, given) => {
    const { f } = whole;
    const v = whole.ofWidth(width);
    const { k, w, wBytes, x, xThin } = given;
    const [line, block, left, at, ...xs] = f.locals("i32", 4 + thin) as [L, L, L, L, ...L[]];
    const sums = f.locals("f32", thin);
    f.for(line, from, to, 1, () => {
      for (const sum of sums) f.set(sum, f32.const(0));
      f.for(block, i32.const(0), k, blockSteps.dots, () => {
        f.set(left, i32.min(i32.sub(k, block), i32.const(blockSteps.dots)));
        f.set(at, i32.add(i32.add(w, i32.mul(line, wBytes)), i32.shl(block, i32.const(2))));
        xs.forEach((vector, i) => {
          f.set(vector, i32.add(i32.add(x, i32.mul(xThin, i32.const(i))), i32.shl(block, i32.const(2))));
        });
        dotBlock(v, scratch, left, at, xs).forEach((dot, i) => {
          f.set(sums[i]!, f32.add(sums[i]!, dot));
        });
      });
      sums.forEach((sum, i) => {
        finish(v, given, line, i, sum);
      });
    });
  });
}

/**
 * Dot products of `left` words at `at` with those at each of `xs`. The lanes pass through memory: V8 joins instructions to 256 bits where
 * it finds neighbouring stores.
 */
function dotBlock(v: VectorCode, scratch: L, left: L, at: L, xs: readonly L[]): readonly F32[] {
  const { f, multiply } = v;
  const lanes = xs.map(() => f.locals("v128", v.width));
  for (const lane of lanes.flat()) f.set(lane, f32x4.const(0));
  const take = (count: number, inside: (x: V128) => V128 = (x) => x): void => {
    const row = thins(count).map((u) => f.let(inside(v128.load(at, 16 * u))));
    lanes.forEach((own, i) => {
      row.forEach((r, u) => {
        f.set(own[u]!, multiply.add(r, inside(v128.load(xs[i]!, 16 * u)), own[u]!));
      });
    });
    for (const a of [at, ...xs]) f.advance(a, 16 * count);
    f.advance(left, -4 * count);
  };
  f.while(i32.geS(left, i32.const(4 * v.width)), () => take(v.width));
  lanes.flat().forEach((lane, n) => {
    f.do(v128.store(scratch, lane, 16 * n));
  });
  f.while(i32.geS(left, i32.const(4)), () => take(1));
  f.if(i32.gtS(left, i32.const(0)), () => {
    // What lies past the end may be NaN.
    const mask = f.let(i32x4.gtS(i32x4.splat(left), i32x4.constants([0, 1, 2, 3])));
    take(1, (x) => v128.and(x, mask));
  });
  return lanes.map((own, i) => {
    const kept = thins(v.width - 1).map((u) => v128.load(scratch, 16 * (i * v.width + u + 1)));
    const folded = f.let(kept.reduce((sum, x) => f32x4.add(sum, x), own[0]! as V128));
    f.set(folded, f32x4.add(folded, v128.lanes32(folded, folded, [2, 3, 0, 1])));
    return f32x4.lane(f32x4.add(folded, v128.lanes32(folded, folded, [1, 0, 3, 2])), 0);
  });
}

/** Lines side by side: the sums of many lines grow together, a few steps at a time, in ascending order of the steps. */
export function emitThinSums(m: ModuleBuilder, multiply: Multiply, thin: number): void {
  emitThin(m, multiply, "thinSums", (v, scratch, from, to, given) => {
    const { f } = v;
    const { k, w, wBytes, x, xThin, xStep } = given;
    const row = (i: number): L => f.let(i32.add(scratch, i32.const(4 * LINES * i)));
    const totals = thins(thin).map((i) => row(i));
    const sums = thins(thin).map((i) => row(thin + i));
    const [start, size, block, left, wAt, xAt, line] = f.locals("i32", 7) as [L, L, L, L, L, L, L];
    const clear = (target: L): void => mapRow(v, size, target, [], (u) => u.float(0));
    const add = (count: number): void => {
      const factors = thins(thin).map((i) =>
        thins(count).map((j) => {
          const at = i32.add(i32.add(xAt, i32.mul(xThin, i32.const(i))), i32.mul(xStep, i32.const(j)));
          return f.let(v128.load32Splat(at));
        }),
      );
      const rows = thins(count).map((j) => i32.add(wAt, i32.mul(wBytes, i32.const(j))));
      eachVector(v, size, [...sums, ...rows], (u, addresses) => {
        const values = addresses.slice(thin).map((a) => loadRow(u, a));
        factors.forEach((own, i) => {
          const sum = own.reduce((s, x, j) => u.madd(beside(u, x), values[j]!, s), loadRow(u, addresses[i]!));
          // The scratch has room past the last line.
          storeVectors(u, "f32", addresses[i]!, sum);
        });
      });
      f.advance(wAt, i32.mul(wBytes, i32.const(count)));
      f.advance(xAt, i32.mul(xStep, i32.const(count)));
      f.advance(left, -count);
    };
    f.for(start, from, to, LINES, () => {
      f.set(size, i32.min(i32.sub(to, start), i32.const(LINES)));
      totals.forEach(clear);
      f.set(wAt, i32.add(w, i32.shl(start, i32.const(2))));
      f.set(xAt, x);
      f.for(block, i32.const(0), k, blockSteps.sums, () => {
        f.set(left, i32.min(i32.sub(k, block), i32.const(blockSteps.sums)));
        sums.forEach(clear);
        f.while(i32.geS(left, i32.const(GROUP)), () => add(GROUP));
        f.while(i32.gtS(left, i32.const(0)), () => add(1));
        totals.forEach((total, i) => {
          mapRow(v, size, total, [total, sums[i]!], (u, [a, b]) => u.add(a!, b!));
        });
      });
      f.for(line, start, i32.add(start, size), 1, () => {
        totals.forEach((total, i) => {
          const sum = f32.load(i32.add(total, i32.shl(i32.sub(line, start), i32.const(2))));
          finish(v, given, line, i, sum);
        });
      });
    });
  });
}
