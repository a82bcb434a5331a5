import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { expectNoLeak, type KeptElsewhere, type SavedKeeper, type Storage, type Tensor } from "../src/index.ts";
import { leaf, newEngine } from "./engine.fixture.ts";

/** Keeps copies of buffers in JavaScript arrays, and counts them. */
class ArrayKeeper implements SavedKeeper {
  held = 0;
  opened = 0;
  keep(storage: Storage, whole: () => Tensor): KeptElsewhere | undefined {
    if (storage.category === "parameters") return undefined;
    const { engine, dtype, elements } = storage;
    const flat = whole();
    expect(flat.shape).toEqual([elements]);
    const words = engine.backend.readSync!(storage.data, dtype, elements).slice();
    flat.dispose();
    this.held++;
    return {
      open: () => {
        this.opened++;
        const again = engine.allocate({ shape: [elements], dtype });
        engine.backend.write(again.data, words);
        return again;
      },
      release: () => {
        this.held--;
      },
    };
  }
}

test("what is saved elsewhere gives the same gradients, views and broadcasts among it, and is let go of", () => {
  const ops: readonly ((x: Tensor, w: Tensor) => Tensor)[] = [
    (x) => x.exp(),
    (x) => x.tanh().mul(x),
    (x, w) => x.matmul(w),
    (x) => x.transpose().square().transpose(),
    (x) => x.softmax().div(x.square().add(1)),
    (x) =>
      x
        .narrow(0, 1, 2)
        .sin()
        .concat([x.narrow(0, 0, 1)], 0),
    (x) => x.sum(0).mul(x),
  ];
  fc.assert(
    fc.property(fc.array(fc.nat(ops.length - 1), { minLength: 1, maxLength: 6 }), (program) => {
      const engine = newEngine();
      const keeper = new ArrayKeeper();
      const gradients = (keeps: SavedKeeper | undefined): unknown =>
        engine.scope(() => {
          const [x, w] = [
            leaf(engine, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
            leaf(engine, [1, 0, 2, 0, 1, 0, 1, 0, 0.5]),
          ];
          const y = engine.withSavedKeeper(keeps, () =>
            program.reduce((value, op) => ops[op]!(value, w.reshape([3, 3])), x.reshape([3, 3]) as Tensor),
          );
          y.sum().backward();
          return [x.grad?.dataSync(), w.grad?.dataSync()];
        });
      const plain = gradients(undefined);
      expectNoLeak(engine, () => expect(gradients(keeper)).toEqual(plain));
      expect(keeper.held).toBe(0);
    }),
    runs(40),
  );
});

test("a keeper is asked for ops inside it alone, and is let go of by a graph that is dropped", () => {
  const engine = newEngine();
  const keeper = new ArrayKeeper();
  const x = leaf(engine, [1, 2, 3]);
  const inside = engine.withSavedKeeper(keeper, () => x.exp());
  expect(keeper.held).toBe(1);
  x.sin();
  expect(keeper.held).toBe(1);
  expect(engine.savedKeeper).toBeUndefined();
  inside.dispose();
  expect([keeper.held, keeper.opened]).toEqual([0, 0]);
});
