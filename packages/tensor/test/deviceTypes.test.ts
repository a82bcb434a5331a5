import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { errorText, wrapBackend } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { type DType, Engine, ops, tensor } from "../src/index.ts";

// A device without float64 whose buffers are texels of four floats.
const device = wrapBackend(new ReferenceBackend(), {
  name: "texels",
  dtypes: ["f32", "i32", "bool"],
  bytesOf: (dtype: DType, elements: number) => (dtype === "i32" ? 32 : 16) * elements,
});

test("a type that the device lacks is an error that names those it has", () => {
  const engine = new Engine(device);
  const x = tensor([1, 2], { engine });
  expect(errorText(() => x.cast("f64"))).toBe(
    "DTypeError: allocate: the texels backend has no f64, asked for [2] f64\n  hint: use f32, i32, bool",
  );
});

test("the ledger counts what buffers take on the device, and the meta backend predicts it", () => {
  const program = (engine: Engine): void =>
    engine.scope(() => {
      const x = tensor([1, 2, 3], { engine });
      x.mul(x).cast("i32").sum();
    });
  const [real, shadow] = [device, MetaBackend.like(device)].map((backend) => new Engine(backend));
  for (const engine of [real!, shadow!]) program(engine);
  expect(real!.memory().peakBytes).toBe(3 * 16 + 3 * 16 + 3 * 32 + 32);
  expect(shadow!.memory()).toEqual(real!.memory());
});

test("what is accumulated in float64 takes the widest float there is", () => {
  const engine = new Engine(device);
  const x = tensor([3, 4], { engine }).requireGrad();
  const product = x.prod(0);
  product.backward();
  expect([...x.grad!.dataSync()]).toEqual([4, 3]);
  expect(x.apply(ops.globalNorm, [x], undefined).itemSync()).toBe(5);
});
