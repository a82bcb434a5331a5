import { Engine, type OutOfMemoryError, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, rejectionText } from "@revnet-zero/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { CudaBackend } from "../src/index.ts";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();
let opened: CudaBackend | undefined;

/** The stand-in's device, opened by the first test that needs it. */
async function device(): Promise<CudaBackend> {
  const { CudaBackend } = await import("../src/index.ts");
  opened ??= new CudaBackend();
  return opened;
}

/** A product over nothing: the device's memory is filled with zeros. */
const zeroSum = (engine: Engine): Tensor =>
  tensor([], { engine, shape: [2, 0] }).matmul(tensor([], { engine, shape: [0, 2] }));

const plan = (failure: string): void => {
  process.env.REVNET_STANDIN_FAIL = failure;
};
afterEach(() => plan(""));

beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});
describe("what the driver refuses", () => {
  test("without a driver, or without a device, the error says what is missing", async () => {
    const { CudaBackend } = await import("../src/index.ts");
    process.env.REVNET_STANDIN_DEVICES = "0";
    expect(errorText(() => new CudaBackend())).toMatch(/^BackendError: cuda: .*\n {2}hint: /);
    process.env.REVNET_STANDIN_DEVICES = "";
  });

  test.each(["cuDevicePrimaryCtxRetain:1:1", "cuStreamCreate:1:1", "cuMemHostAlloc:1"])(
    "a device that does not open for %s opens at the next try",
    async (failure) => {
      const { CudaDevice } = await import("../src/device/device.ts");
      plan(failure);
      expect(errorText(() => new CudaDevice(0))).toMatch(/^BackendError: cuda: .*\n {2}hint: /);
      plan("");
      new CudaDevice(0).native.closeDevice();
    },
  );

  test("memory that runs out is the engine's error, and what was cached is given back first", async () => {
    const backend = await device();
    const engine = new Engine(backend);
    const kept = tensor([1], { engine });
    // A segment of its own, which is kept.
    backend.free(backend.allocate("f32", 2 ** 23));
    const { reservedBytes } = backend.memory();
    // What is reserved and no more.
    process.env.REVNET_STANDIN_MEMORY = String(reservedBytes);
    let error: OutOfMemoryError | undefined;
    try {
      engine.allocate({ shape: [2 ** 28], dtype: "f32" });
    } catch (thrown) {
      error = thrown as OutOfMemoryError;
    }
    process.env.REVNET_STANDIN_MEMORY = "";
    kept.dispose();
    expect(error?.name).toBe("OutOfMemoryError");
    expect(error?.message).toContain("the cuda device's memory");
    expect(backend.memory().reservedBytes).toBeLessThanOrEqual(reservedBytes - 2 ** 25);
    expect(backend.memory().liveBlocks).toBe(0);
  });

  test("kernels that find no room are loaded when cached memory was given back, and else the error says what helps", async () => {
    const backend = await device();
    const engine = new Engine(backend);
    const work = (): number => engine.scope(() => tensor([2], { engine, dtype: "i32" }).sign().itemSync());
    backend.free(backend.allocate("f32", 2 ** 23));
    const { reservedBytes } = backend.memory();
    plan("cuModuleLoadData:1");
    expect(work()).toBe(1);
    expect(backend.memory().reservedBytes).toBeLessThan(reservedBytes);
    plan("cuMemsetD8Async:1");
    expect(errorText(() => engine.scope(() => zeroSum(engine)))).toMatch(/filling .*\n {2}hint: make the batch/);
    plan("");
    expect(backend.memory().liveBlocks).toBe(0);
  });

  test.each(Array.from({ length: 6 }, (_, n) => n + 1))("a launch that fails at call %i leaks nothing", async (n) => {
    const backend = await device();
    const engine = new Engine(backend);
    const work = (): Float32Array =>
      engine.scope(() => {
        const x = tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { engine },
        ).requireGrad();
        x.matmul(x).softmax().sum().backward();
        return x.grad!.dataSync() as Float32Array;
      });
    plan(`cuLaunchKernel:${n}:1`);
    expect(errorText(work)).toContain("launching a kernel");
    plan("");
    expect([engine.liveTensors, backend.memory().liveBlocks]).toEqual([0, 0]);
    expect(Array.from(work())).toHaveLength(4);
  });

  test("a copy that fails rejects, and the next one works", async () => {
    const backend = await device();
    const engine = new Engine(backend);
    const x = tensor([1, 2, 3], { engine });
    plan("cuMemcpyDtoHAsync_v2:1:1");
    expect(await rejectionText(x.data())).toContain("copying from the device");
    plan("");
    expect(Array.from(await x.data())).toEqual([1, 2, 3]);
    x.dispose();
  });

  test("copies of several pieces arrive, also where pinned memory cannot be had, and one that fails in the middle says so", async () => {
    const backend = await device();
    const engine = new Engine(backend);
    const values = Float32Array.from({ length: 2.5 * 2 ** 20 + 3 }, (_, i) => i);
    const there = (): readonly [Tensor, boolean] => {
      const x = tensor(values, { engine });
      return [x, x.dataSync().every((v, i) => v === values[i])];
    };
    for (const failure of ["", "cuMemHostAlloc:1", "cuMemHostAlloc:2"]) {
      plan(failure);
      const [x, isThere] = there();
      expect(isThere).toBe(true);
      x.dispose();
    }
    plan("cuMemcpyHtoDAsync_v2:2:1");
    expect(errorText(there)).toContain("copying to the device");
    plan("cuMemcpyDtoHAsync_v2:3:1");
    expect(errorText(() => engine.scope(there))).toContain("copying from the device");
    plan("");
    const [x, isThere] = there();
    expect([isThere, (await x.data()).every((v, i) => v === values[i])]).toEqual([true, true]);
    x.dispose();
    expect(backend.memory().liveBlocks).toBe(0);
  });

  test("an index that names no place is an error at the next read", async () => {
    const engine = new Engine(await device());
    const [table, indices] = [tensor([[1], [2]], { engine }), tensor([0, 5], { engine, dtype: "i32" })];
    const y = table.take(indices, 0);
    expect(errorText(() => y.dataSync())).toMatchInlineSnapshot(`
      "ValueError: take: index 5 names none of 2 places
        hint: indices count from 0; check the vocabulary or axis size (found at this read; the op ran earlier)"
    `);
    for (const t of [table, indices, y]) t.dispose();
  });

  test("a device that is lost says so, whatever is called", async () => {
    const engine = new Engine(await device());
    const x = tensor([1], { engine });
    plan("cuLaunchKernel:1:700");
    expect(errorText(() => x.add(x))).toContain("start it again, from the last checkpoint");
    expect(errorText(() => x.dataSync())).toContain("CUDA_ERROR_ILLEGAL_ADDRESS");
    plan("");
    x.dispose();
  });
});

if (reason !== undefined) test("the CUDA addon on the stand-in driver", (context) => context.skip(reason));
