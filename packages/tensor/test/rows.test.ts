import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { dispatch, full, ops, type Tensor, uninitialised, zeros } from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";

// Outputs that are rows of a tensor which was there before.

test("outputs written into rows of a tensor are those that are concatenated afterwards, and leave its other rows alone", () => {
  const engine = newEngine();
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 0, max: 3 }),
      (sizes, classes, above) => {
        engine.scope(() => {
          const total = sizes.reduce((a, b) => a + b);
          const products = full([above + total + 1, classes], -7, { engine });
          const losses = full([above + total + 1], -7, { engine });
          const weight = random(engine, 1, [3, classes]);
          let first = above;
          const apart = sizes.map((rows, i) => {
            const x = random(engine, 2 + i, [rows, 3]);
            const targets = zeros([rows], { dtype: "i32", engine });
            const [product] = dispatch(engine, ops.matmul, [x, weight], undefined, {
              into: [{ tensor: products, first }],
            });
            const [loss] = dispatch(engine, ops.crossEntropy, [product!, targets], undefined, {
              into: [{ tensor: losses, first }],
            });
            first += rows;
            // What is returned are these rows.
            expect([product!.storage, loss!.storage]).toEqual([products.storage, losses.storage]);
            const alone = x.matmul(weight);
            return [alone, alone.apply(ops.crossEntropy, [alone, targets], undefined)] as const;
          });
          const joined = (of: 0 | 1): Tensor => apart[0]![of].concat(apart.slice(1).map((a) => a[of]));
          for (const [t, of] of [
            [products, 0],
            [losses, 1],
          ] as const) {
            expectBitEqual(t.narrow(0, above, total).dataSync(), joined(of).dataSync(), "rows");
            for (const rest of [t.narrow(0, 0, above), t.narrow(0, above + total, 1)])
              expect(rest.dataSync().every((v) => v === -7)).toBe(true);
          }
        });
      },
    ),
    runs(60),
  );
  expect(engine.memory().liveBytes).toBe(0);
});

test("rows that do not fit are an error that names the op", () => {
  const engine = newEngine();
  engine.scope(() => {
    const x = random(engine, 1, [2, 2]);
    const tensor = uninitialised([3, 2], { engine });
    const into = (first: number, t: Tensor) => () =>
      dispatch(engine, ops.matmul, [x, x], undefined, { into: [{ tensor: t, first }] });
    expect(into(2, tensor)).toThrow(/matmul: \[2, 2\] f32 does not fit \[3, 2\] f32 from row 2 on/);
    expect(into(0, uninitialised([3, 2], { dtype: "f64", engine }))).toThrow(/matmul: \[2, 2\] f32 is no part of/);
    expect(into(1, tensor)).not.toThrow();
  });
});
