import { CpuBackend } from "@revnet-zero/backend-cpu";
import { dispatch, Engine, ops, type Tensor, zeros } from "@revnet-zero/tensor";
import { answerRequests } from "../subject.ts";
import { bytesMoved } from "./bytesMoved.ts";
import { type FusedCase, makeCase } from "./cases.ts";

// Fused kernels and what they are made of, on the same tier.

export type KernelRequest =
  | { readonly prepare: string; readonly isQuick: boolean }
  | { readonly prepareProduct: readonly [rows: number, columns: number, k: number] }
  | { readonly run: string; readonly times: number };

const backend = new CpuBackend();
const engine = new Engine(backend);
let operands: readonly Tensor[] = [];
let runs: { readonly [impl: string]: () => void } = {};

const keep = (tensors: readonly Tensor[]): readonly Tensor[] => {
  for (const t of operands) t.dispose();
  operands = tensors.map((t) => engine.keep(t));
  return operands;
};
function prepare(name: string, isQuick: boolean) {
  const { op, inputs, attrs }: FusedCase = engine.scope(() => {
    const made = makeCase(name, engine, isQuick);
    return { ...made, inputs: keep(made.inputs) };
  });
  const parts = (op as { decompose(inputs: readonly Tensor[], attrs: unknown): readonly Tensor[] }).decompose;
  runs = {
    fused: () => engine.scope(() => void dispatch(engine, op, inputs, attrs)),
    decomposed: () => engine.scope(() => void parts(inputs, attrs)),
  };
  const fusedBytes = bytesMoved(engine, runs.fused!);
  const decomposedBytes = bytesMoved(engine, runs.decomposed!);
  return { tier: backend.tier, threads: backend.threads, fusedBytes, decomposedBytes };
}

/** x · Wᵀ alone, with the bias, and with bias and GELU. */
function prepareProduct([rows, columns, k]: readonly [number, number, number]) {
  const [x, w, b] = engine.scope(() => {
    const some = (...shape: number[]): Tensor => zeros(shape, { engine }).add(0.5);
    return keep([some(rows, k), some(columns, k), some(columns)]);
  }) as [Tensor, Tensor, Tensor];
  const turned = w.transpose();
  runs = {
    bare: () => engine.scope(() => void x.matmul(turned)),
    bias: () => engine.scope(() => void dispatch(engine, ops.linear, [x, w, b], { activation: "none" })),
    gelu: () => engine.scope(() => void dispatch(engine, ops.linear, [x, w, b], { activation: "gelu" })),
  };
  return { tier: backend.tier, threads: backend.threads };
}

await answerRequests((request: KernelRequest) => {
  if ("prepare" in request) return prepare(request.prepare, request.isQuick);
  if ("prepareProduct" in request) return prepareProduct(request.prepareProduct);
  const one = runs[request.run]!;
  const start = performance.now();
  for (let i = 0; i < request.times; i++) one();
  return { timeMs: (performance.now() - start) / request.times };
});
