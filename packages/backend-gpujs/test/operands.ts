import { dispatch, type ElementwiseOp, Engine, expr, flat, tensor } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { createGpuJsBackend, type GpuJsMode } from "../src/index.ts";

const nineOperands: ElementwiseOp = flat({
  name: "nineOperands",
  arity: 9,
  doc: "a sum of nine operands, two of them words",
  meta: ([x]) => [x!],
  body: (list) =>
    list.reduce((sum, x, i) => expr.add(sum, expr.mul(2 ** i, i === 5 || i === 8 ? expr.toFloat(x) : x)), expr.lift(0)),
});

/** Recorded steps join ops until their bodies have more operands than WebGPU has buffers. */
export function manyOperands(mode: GpuJsMode): void {
  test(`a body of nine operands runs in ${mode}`, async () => {
    const engine = new Engine(await createGpuJsBackend({ mode }));
    const sum = engine.scope(() => {
      const operands = Array.from({ length: 9 }, (_, i) =>
        tensor([i + 1, -3000 * (i + 1)], { dtype: i === 5 || i === 8 ? "i32" : "f32", engine }),
      );
      return dispatch(engine, nineOperands, operands, undefined)[0]!;
    });
    const exact = [0, 1].map((k) => Array.from({ length: 9 }, (_, i) => 2 ** i * (k === 0 ? i + 1 : -3000 * (i + 1))));
    expect([...(await sum.data())]).toEqual(exact.map((list) => list.reduce((a, b) => a + b, 0)));
    sum.dispose();
  });
}
