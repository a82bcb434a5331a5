import { foldKey, fromWords, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expect } from "vitest";
import { buildPyramid, denseAttention, Hierarchical, type LadderOptions, logVisibility } from "../src/index.ts";
import { distance, engine, noise, operands } from "./fixtures.ts";

/** float64 against float64: the errors of sums of some hundred terms of order one. */
export const CLOSE = 1e-12;

/** Output and gradients by q, k, v of both, compared in float64. */
export function expectSameFunction(
  f: (...x: Tensor[]) => Tensor,
  oracle: (...x: Tensor[]) => Tensor,
  inputs: Tensor[],
): void {
  const pulled = (g: (...x: Tensor[]) => Tensor): Tensor[] => {
    const leaves = inputs.map((x) => x.detach().requireGrad());
    const y = g(...leaves);
    y.backward({ gradient: noise(99, y.shape, "f64") });
    return [y, ...leaves.map((x) => x.grad!)];
  };
  engine.scope(() => {
    const [found, expected] = [pulled(f), pulled(oracle)];
    for (const [i, x] of found.entries()) expect(distance(x, expected[i]!)).toBeLessThan(CLOSE);
  });
}

/** Two sequences, two heads of queries on one of keys, in float64. */
export const f64 = { dtype: "f64", keyHeads: 1, batch: 2 } as const;

/** Throws unless hierarchical attention is softmax attention over the pyramid's rows, each weighing as the tokens it stands for. */
export function hierarchicalIsDense(ladder: LadderOptions, pooling: "mean" | "learned"): void {
  const attention = new Hierarchical({
    ...ladder,
    ...{ numHeads: 2, numKeyValueHeads: 1, headDim: 4, pooling, levelBias: true, dtype: "f64" },
  });
  for (const p of attention.parameters())
    p.assign(randomNormal(p.shape, { key: foldKey(randomKey(2), p.size), dtype: "f64" }));
  expectSameFunction(
    (q, k, v) => attention.call(q!, k!, v!),
    (q, k, v) => {
      const made = attention.ladderFor(ladder.length);
      const { keys, values } = buildPyramid(k!, v!, made, attention.pool);
      const rows = Array.from({ length: made.rows }, (_, row) => {
        const level = made.levels.findIndex(({ offset, rows }) => row >= offset && row < offset + rows);
        const { ratio, offset } = made.levels[level]!;
        return { level, log: Math.log(Math.min(ratio, ladder.length - (row - offset) * ratio)) };
      });
      const logs = fromWords(
        Float64Array.from(rows, (r) => r.log),
        [made.rows],
        "f64",
        engine,
      );
      const levels = fromWords(
        Int32Array.from(rows, (r) => r.level),
        [made.rows],
        "i32",
        engine,
      );
      const bias = attention.levelBias!.take(levels, 2).add(logs).unsqueeze(2);
      return denseAttention(q!, keys, values, logVisibility(made.list, q!).add(bias), 0.5);
    },
    operands(ladder.length, f64),
  );
  attention.dispose();
}
