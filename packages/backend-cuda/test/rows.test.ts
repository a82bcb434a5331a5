import { dispatch, Engine, full, ops, randomKey, randomNormal, zeros } from "@revnet-zero/tensor";
import { expectBitEqual } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();

// Places inside of buffers that kernels write to themselves (multiples of 256 bytes), and others, to which results are copied.
test.for([0, 128, 5])("products and losses are written from row %d of a tensor on", async (first, context) => {
  if (reason !== undefined) return context.skip(reason);
  const { CudaBackend } = await import("../src/index.ts");
  const engine = new Engine(new CudaBackend());
  engine.scope(() => {
    const [x, weight] = [1, 2].map((seed) => randomNormal([48, 48], { key: randomKey(seed), engine, dtype: "bf16" }));
    const targets = zeros([48], { dtype: "i32", engine });
    const products = full([200, 48], -7, { dtype: "bf16", engine });
    const losses = full([200], -7, { engine });
    const before = engine.ledger.liveBytes;
    engine.ledger.resetPeak();
    const at = (tensor: typeof products) => ({ tensor, first });
    const [product] = dispatch(engine, ops.matmul, [x!, weight!], undefined, { into: [at(products)] });
    const isInside = (first * 48 * 2) % 256 === 0;
    expect(engine.memory().peakBytes - before).toBe(isInside ? 0 : 48 * 48 * 2);
    dispatch(engine, ops.crossEntropyWithGradient, [product!, targets], undefined, { into: [undefined, at(losses)] });
    const alone = x!.matmul(weight!);
    const [, loss] = alone.applyAll(ops.crossEntropyWithGradient, [alone, targets], undefined);
    for (const [all, part] of [
      [products, alone],
      [losses, loss!],
    ] as const) {
      expectBitEqual(all.narrow(0, first, 48).dataSync(), part.dataSync(), "rows");
      for (const rest of [all.narrow(0, 0, first), all.narrow(0, first + 48, 152 - first)])
        expect(rest.dataSync().every((v) => v === -7)).toBe(true);
    }
  });
});
