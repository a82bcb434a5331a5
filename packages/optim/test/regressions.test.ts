import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, type Tensor, tensor, zeros } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Adafactor, AdamW } from "../src/index.ts";

// Mistakes that other libraries made and shipped.

const engine = new Engine(new CpuBackend());
const gradients = fc.double({ min: 1e-3, max: 1e3, noNaN: true }).chain((g) => fc.constantFrom(g, -g));

test("bias correction is applied once: while the gradient is constant, every AdamW step moves by the learning rate", () => {
  fc.assert(
    fc.property(gradients, fc.constantFrom(0.5, 0.9), fc.constantFrom(0.9, 0.999), (g, beta1, beta2) => {
      engine.scope(() => {
        const p = tensor([0], { engine }).requireGrad();
        const optimizer = new AdamW([p], { learningRate: 0.01, beta1, beta2, weightDecay: 0 });
        p.grad = engine.keep(tensor([g], { engine }));
        for (let step = 1; step <= 4; step++) {
          optimizer.step();
          // eps takes 1e-8 / |g| away.
          expect(Math.abs(p.dataSync()[0]! / (-Math.sign(g) * 0.01 * step) - 1)).toBeLessThan(2e-5);
        }
        optimizer.dispose();
      });
    }),
    runs(50),
  );
});

test.each<[string, (x: Tensor) => Tensor]>([
  ["x.pow(3)", (x) => x.pow(3)],
  ["x.square().mul(x)", (x) => x.square().mul(x)],
  ["x.mul(x).mul(x)", (x) => x.mul(x).mul(x)],
])("the gradient of %s is 3x², within 8 roundoffs", (_, cube) => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 1, maxLength: 5 }), (values) => {
      engine.scope(() => {
        const x = tensor(Float64Array.from(values), { engine }).requireGrad();
        cube(x).sum().backward();
        x.grad!.dataSync().forEach((g, i) => {
          expect(Math.abs(g - 3 * values[i]! ** 2)).toBeLessThanOrEqual(
            8 * (Number.EPSILON * 3 * values[i]! ** 2 + Number.MIN_VALUE),
          );
        });
      });
    }),
    runs(50),
  );
});

test("Adafactor survives a gradient of zeros: the two factors do not underflow together", () => {
  engine.scope(() => {
    const p = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { engine },
    ).requireGrad();
    const optimizer = new Adafactor([p]);
    p.grad = engine.keep(zeros([2, 2], { engine }));
    optimizer.step();
    expect(Array.from(p.dataSync())).toEqual([1, 2, 3, 4]);
    optimizer.dispose();
  });
});
