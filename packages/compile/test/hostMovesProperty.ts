import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type Backend, contiguous, Engine, makeTensor, type Tensor, tensor } from "@revnet-zero/tensor";
import { runs, withLateCopies } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect } from "vitest";
import { compile } from "../src/index.ts";

const device = withLateCopies(new CpuBackend() as Backend);
export const engine = new Engine(device);
export const size = 8;
export const copies = () => engine.backend.hostCopies!;
export const copyOf = (t: Tensor) => copies().copy(t.storage.data, "f32", size);

/** Copies values out and back in some order, and computes from what comes back. */
interface Plan {
  readonly factors: readonly number[];
  /** Whether each is waited for before the next is made, and whether its values stay on the device meanwhile. */
  readonly isSettled: readonly boolean[];
  readonly order: readonly number[];
}
const plans = fc.integer({ min: 1, max: 4 }).chain((length) =>
  fc.record({
    factors: fc.array(fc.integer({ min: -3, max: 3 }), { minLength: length, maxLength: length }),
    isSettled: fc.array(fc.boolean(), { minLength: length, maxLength: length }),
    order: fc.shuffledSubarray(
      Array.from({ length }, (_, i) => i),
      { minLength: length },
    ),
  }),
);

function moved({ factors, isSettled, order }: Plan, x: Tensor): Tensor {
  const put = factors.map((factor, i) => {
    const t = x.mul(factor).add(i).exp();
    const copy = copyOf(t);
    if (isSettled[i]) {
      copy.settle();
      // In place, after the copy.
      t.assign(t.mul(0));
    }
    return { copy, t };
  });
  return order.reduce((sum, i) => {
    const { copy, t } = put[i]!;
    const storage = engine.allocate({ shape: [size], dtype: "f32" });
    if (!isSettled[i]) copy.settle();
    copy.copyTo(storage.data);
    copy.settle();
    const back = makeTensor({ engine, storage, layout: contiguous([size]), dtype: "f32" });
    copy.release();
    return sum.add(back).sub(t.mul(0.5));
  }, x);
}

/** Copies in host memory are made again by a recording, on its own buffers. */
export function holdsForRecordings(numRuns: number): void {
  fc.assert(
    fc.property(plans, (plan) => {
      const recorded = compile((x: Tensor) => moved(plan, x));
      for (let call = 0; call < 4; call++)
        engine.scope(() => {
          const x = tensor(
            Array.from({ length: size }, (_, i) => (i - call) / size),
            { engine },
          );
          expect(recorded(x).dataSync()).toEqual(moved(plan, x).dataSync());
        });
      expect(recorded.reason).toBeUndefined();
      recorded.dispose();
      expect([device.copying.count, engine.memory().liveBytes]).toEqual([0, 0]);
    }),
    runs(numRuns),
  );
}
