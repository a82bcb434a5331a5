import { Engine, ops, type Tensor, tensor, toWords } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect } from "vitest";
import type { CudaBackend } from "../src/index.ts";
import { useStandIn } from "../src/testing/standIn.ts";

export const reason: string | undefined = useStandIn();
export const backend: CudaBackend | undefined =
  reason === undefined ? new (await import("../src/index.ts")).CudaBackend() : undefined;

/** What two launches of a graph of some work throw. */
export function launchTwice(work: () => void): string[] {
  const memory = backend!.openGraphs(() => {});
  const graph = memory.capture([], work);
  const thrown: string[] = [];
  for (let n = 0; n < 2; n++)
    try {
      graph.launch([], []);
      backend!.synchronize();
      thrown.push("nothing");
    } catch (error) {
      thrown.push((error as Error).message);
    }
  graph.dispose();
  memory.dispose();
  return thrown;
}

const kinds = ["product", "low product", "norm", "sum and norm", "write"] as const;
const programs = fc.record({
  // Few rows, and some.
  rows: fc.constantFrom(2, 11),
  steps: fc.array(fc.record({ kind: fc.constantFrom(...kinds), of: fc.nat(1) }), { minLength: 2, maxLength: 6 }),
});
const WIDTH = 32;

/** Products and norms of one tensor by weights that some steps write, as a graph launched twice: nothing is read too soon, and the bits are those of calls. */
export function checkChains(numRuns: number): void {
  fc.assert(
    fc.property(programs, ({ rows, steps }) => {
      const engine = new Engine(backend!);
      const make = (shape: readonly number[], seed: number): Tensor => {
        const length = shape.reduce((n, size) => n * size, 1);
        const values = Float32Array.from({ length }, (_, i) => ((i * 7 + seed * 5) % 9) / 32 - 0.1);
        return engine.keep(tensor(values, { shape, engine }));
      };
      const run = (isGraph: boolean): unknown => {
        const x = make([rows, WIDTH], 0);
        const weights = [1, 2].map((n) => make([WIDTH, WIDTH], n));
        const scales = [3, 4].map((n) => make([WIDTH], n));
        const step = ({ kind, of }: (typeof steps)[number] & object): void => {
          const [w, scale] = [weights[of]!, scales[of]!];
          if (kind === "product") x.assign(x.linear(w).tanh());
          else if (kind === "low product") x.assign(x.cast("bf16").linear(w.cast("bf16")).cast("f32"));
          else if (kind === "norm") x.assign(x.layerNorm(scale, scale));
          else if (kind === "sum and norm")
            x.assign(x.applyAll(ops.addNorm, [x, x.mul(0.5), scale, scale], { eps: 1e-5 })[1]!);
          else for (const t of [w, scale]) t.assign(t.mul(0.75).add(0.125));
        };
        const work = (): void => engine.noGrad(() => engine.scope(() => steps.forEach(step)));
        if (isGraph) expect(launchTwice(work)).toEqual(["nothing", "nothing"]);
        else for (let n = 0; n < 2; n++) work();
        const all = [x, ...weights, ...scales];
        const found = all.map((t) => Array.from(toWords(t.dataSync(), t.dtype)));
        for (const t of all) t.dispose();
        return found;
      };
      expect(run(true)).toEqual(run(false));
      expect(backend!.memory().liveBlocks).toBe(0);
    }),
    runs(numRuns),
  );
}
