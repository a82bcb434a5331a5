import { CpuBackend, measurePeakFlops } from "@revnet-zero/backend-cpu";
import { Engine, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { answerRequests } from "../subject.ts";

/** [batch, m, k] times [batch, k, n]; a transposed operand lies in memory the other way round. */
export interface ProductShape {
  readonly batch: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transA: boolean;
  readonly transB: boolean;
}

export type ProductRequest = { readonly prepare: ProductShape } | { readonly run: number } | { readonly peak: true };

const backend = new CpuBackend();
const engine = new Engine(backend);
let operands: readonly [Tensor, Tensor] | undefined;

function prepare({ batch, m, k, n, transA, transB }: ProductShape): { tier: string; threads: number } {
  for (const t of operands ?? []) t.dispose();
  const operand = (rows: number, columns: number, isTransposed: boolean, seed: number): Tensor => {
    const shape = isTransposed ? [batch, columns, rows] : [batch, rows, columns];
    const values = randomNormal(shape, { key: randomKey(seed), engine });
    return isTransposed ? values.transpose() : values;
  };
  operands = [operand(m, k, transA, 1), operand(k, n, transB, 2)];
  return { tier: backend.tier, threads: backend.threads };
}

/** The time of one of so many products in a row. */
function run(times: number): { timeMs: number } {
  const [a, b] = operands!;
  const start = performance.now();
  for (let i = 0; i < times; i++) a.matmul(b).dispose();
  return { timeMs: (performance.now() - start) / times };
}

await answerRequests((request: ProductRequest) => {
  if ("prepare" in request) return prepare(request.prepare);
  if ("run" in request) return run(request.run);
  return { flops: measurePeakFlops({ tier: backend.tier, threads: backend.threads }) ?? null };
});
