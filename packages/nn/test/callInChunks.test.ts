import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { callInChunks, MLP } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const mlp = new MLP({ dim: 8, hidden: 64, key: randomKey(1), engine });

/** Output and gradients, and what the pass takes at its peak. */
function run(f: (x: Tensor) => Tensor) {
  mlp.zeroGrad();
  const x = randomNormal([2, 100, 8], { key: randomKey(2), engine }).requireGrad();
  engine.ledger.resetPeak();
  const y = engine.scope(() => {
    const y = f(x);
    y.square().sum().backward();
    return y;
  });
  const values = [y, x.grad!, ...mlp.parameters().map((p) => p.grad!)].map((t) => Float32Array.from(t.dataSync()));
  return { values, activationBytes: engine.memory().activationBytes };
}

test("in chunks, a module gives what it gives at once, and its inside exists for one chunk", () => {
  const whole = run((x) => mlp.call(x));
  for (const size of [7, 50, 99]) {
    const parts = run((x) => callInChunks(mlp, x, { size }));
    for (const [i, values] of parts.values.entries())
      for (const [j, v] of values.entries())
        expect(Math.abs(v - whole.values[i]![j]!)).toBeLessThan(1e-5 * (1 + Math.abs(v)));
    if (size === 7) expect(parts.activationBytes).toBeLessThan(whole.activationBytes / 2);
  }
  expect(() => callInChunks(mlp, randomNormal([1, 2, 8], { key: randomKey(3), engine }), { size: 0 })).toThrow(
    "size is 0",
  );
});
