import { join } from "node:path";
import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import fc from "fast-check";
import { expect } from "vitest";
import { compile, Engine, foldKey, randomKey, type Tensor, tensor, toWords } from "../src/index.ts";

// Recordings as CUDA graphs, on the stand-in driver: it takes launches down and runs them at every launch of the graph, and
// refuses what a device refuses meanwhile.

/** Why there is no stand-in here. */
export const reason: string | undefined = useStandIn();
// With its matrix products.
process.env.REVNET_CUDA_LIBRARIES += `:${join(process.env.REVNET_CUDA_LIBRARIES ?? "", "products")}`;
export const backend = reason === undefined ? new (await import("@revnet-zero/backend-cuda")).CudaBackend() : undefined;

export const bits = (t: Tensor): unknown => Array.from(toWords(t.dataSync(), t.dtype));

const steps = ["neg", "tanh", "square", "sum", "transpose", "dropout", "matmul", "add", "constant"] as const;
const programs = fc.array(fc.record({ op: fc.constantFrom(...steps), a: fc.nat(7) }), { minLength: 2, maxLength: 6 });

/** A program over a growing list of [3, 3] tensors. */
function runProgram(nodes: readonly { readonly op: (typeof steps)[number]; readonly a: number }[], x: Tensor): Tensor {
  const { engine } = x;
  const values = [x];
  for (const { op, a } of nodes) {
    const [last, other] = [values.at(-1)!, values[a % values.length]!];
    if (op === "sum") values.push(last.sum(0).add(other));
    else if (op === "dropout") values.push(last.dropout(0.3, engine.nextKey("program")));
    else if (op === "matmul" || op === "add") values.push(last[op](other));
    else if (op === "constant") values.push(last.mul(tensor([1, 2, a], { engine })));
    else values.push(last[op]());
  }
  return values.at(-1)!;
}

/** A graph has the bits of the function and of its recording, random numbers included, and leaves nothing. */
export function checkPrograms(numRuns: number): void {
  fc.assert(
    fc.property(programs, fc.constantFrom(undefined, "bf16" as const), (nodes, dtype) => {
      const engine = new Engine(backend!);
      const f = (x: Tensor): Tensor => engine.autocast(dtype, () => runProgram(nodes, x));
      const [recorded, graph] = [compile(f), compile(f, { graph: true })];
      for (let call = 0; call < 6; call++) {
        engine.scope(() => {
          const values = Float32Array.from({ length: 9 }, (_, i) => Math.sin(i + call));
          const x = tensor(values, { shape: [3, 3], engine });
          const [expected, replayed, found] = [f, recorded, graph].map((g) =>
            engine.withKey(foldKey(randomKey(5), call), () => [bits(g(x)), engine.nextKey("after")]),
          );
          expect(replayed).toEqual(expected);
          expect(found).toEqual(expected);
        });
      }
      expect(graph.recordings.map((r) => r.whyNoGraph)).toEqual([undefined]);
      expect(recorded.recordings.map((r) => r.whyNoGraph)).toEqual(["not asked for (graph: true)"]);
      for (const one of [recorded, graph]) one.dispose();
      expect([engine.memory().liveBytes, backend!.memory().liveBlocks]).toEqual([0, 0]);
    }),
    { numRuns },
  );
}
