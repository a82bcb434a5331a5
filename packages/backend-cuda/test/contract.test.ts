import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { Engine, tensor } from "@revnet-zero/tensor";
import { opContract, Random } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { attentionCases, tilesAgainstRows } from "../src/testing/attention.ts";
import { useStandIn } from "../src/testing/standIn.ts";

// The kernels' own source, compiled for the host: one op of every family. All ops in all types are in contract.deep.ts, and on
// a device by `npm run gpu:bundle`.
const reason = useStandIn();

if (reason === undefined) {
  const { CudaBackend } = await import("../src/index.ts");
  const backend = new CudaBackend();
  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["f32"],
    only: ["exp", "concat", "randomBits", "sum", "argmax", "cumsum", "sort", "take", "scatterAdd", "matmul", "conv2d"],
  });
  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["bf16", "f32"],
    only: ["layerNorm", "crossEntropy", "fixedPointAddNorm"],
  });
  test("accurateExp is within 0.65 units in the last place", () => {
    const engine = new Engine(backend);
    const random = new Random(1);
    const given = Float32Array.from({ length: 100_000 }, () => random.between(-87, 88));
    const found = engine.scope(() => tensor(given, { engine }).exp().dataSync());
    given.forEach((x, i) => {
      const exact = Math.exp(x);
      const unit = 2 ** (Math.floor(Math.log2(exact)) - 23);
      if (Math.abs(found[i]! - exact) > 0.65 * unit) throw new Error(`exp(${x}) is ${found[i]}, not ${exact}`);
    });
  });
  test.each(attentionCases.slice(1))("attention on tensor cores is that of rows: %o", (one) => {
    // Weights are rounded to 8 bits before the second product, sums are not.
    for (const apart of tilesAgainstRows(backend, one)) expect(apart).toBeLessThan(2 ** -7);
  });
} else {
  test("CUDA kernels on the stand-in driver", (context) => context.skip(reason));
}
