import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { categories, dispatch, expectNoLeak, ops, type Tensor, tensor, ValueError, zeros } from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";

describe("the ledger", () => {
  test("counts every buffer in bytes of its type, live and at the peak", () => {
    const engine = newEngine();
    const a = zeros([10], { engine }); // 40
    const b = zeros([10], { engine, dtype: "f64" }); // 80
    const c = zeros([3], { engine, dtype: "bf16" }); // 6
    expect(engine.memory()).toMatchObject({ liveBytes: 126, peakBytes: 126, liveBuffers: 3 });
    b.dispose();
    const d = zeros([5], { engine, dtype: "i8" }); // 5
    expect(engine.memory()).toMatchObject({ liveBytes: 51, peakBytes: 126, liveBuffers: 3 });
    for (const t of [a, c, d]) t.dispose();
    expect(engine.memory()).toMatchObject({ liveBytes: 0, peakBytes: 126, liveBuffers: 0 });
  });

  test("categories sum to the total, now and at the instant of the peak", () => {
    const engine = newEngine();
    const total = (bytes: Readonly<Record<string, number>>): number => categories.reduce((n, c) => n + bytes[c]!, 0);
    const w = random(engine, 1, [8, 8]);
    w.storage.category = "parameters";
    w.requireGrad();
    engine.scope(() => {
      random(engine, 2, [4, 8]).matmul(w).tanh().square().sum().backward();
      const { live, liveBytes, atPeak, peakBytes, activationBytes } = engine.memory();
      expect(total(live)).toBe(liveBytes);
      expect(total(atPeak)).toBe(peakBytes);
      expect(atPeak.parameters).toBe(256);
      expect(activationBytes).toBe(peakBytes - atPeak.parameters - atPeak.gradients - atPeak.optimizer);
    });
    expect(engine.memory().live).toMatchObject({ parameters: 256, gradients: 256, saved: 0, workspace: 0 });
  });

  test("what the graph saved is called so, and is workspace again when the graph is done with it", () => {
    const engine = newEngine();
    const x = tensor([1, 2, 3], { engine }).requireGrad();
    const y = x.exp(); // saves its output
    expect(engine.memory().live).toMatchObject({ saved: 12, workspace: 12 });
    const z = y.sum();
    z.backward();
    expect(engine.memory().live).toMatchObject({ saved: 0, workspace: 28, gradients: 12 });
    for (const t of [x, y, z]) t.dispose();
    expect(engine.memory().liveBytes).toBe(0);
  });

  test("a parameter that is also saved stays a parameter", () => {
    const engine = newEngine();
    const w = tensor([1, 2, 3], { engine });
    w.storage.category = "parameters";
    w.requireGrad();
    const y = w.square();
    expect(engine.memory().live).toMatchObject({ parameters: 12, saved: 0 });
    y.dispose();
    expect(engine.memory().live.parameters).toBe(12);
  });

  test("a new peak can be measured from here", () => {
    const engine = newEngine();
    engine.scope(() => zeros([1000], { engine }).size);
    engine.ledger.resetPeak();
    expect(engine.memory()).toMatchObject({ liveBytes: 0, peakBytes: 0 });
    engine.scope(() => zeros([10], { engine }).size);
    expect(engine.memory().peakBytes).toBe(40);
  });

  test("views, detached handles and aliases take no bytes", () => {
    const engine = newEngine();
    const x = random(engine, 1, [4, 4]);
    engine.ledger.resetPeak();
    engine.scope(() => [x.transpose(), x.detach(), x.alias(), x.flip(), x.expand([2, 4, 4]), x.reshape([16])].length);
    expect(engine.memory().peakBytes).toBe(64);
  });
});

describe("running out of memory", () => {
  test("says what is live, how large, and what would help; and nothing leaks", () => {
    const engine = newEngine({ memoryLimitBytes: 1000 });
    engine.scope(() => {
      const x = zeros([100], { engine });
      x.storage.category = "parameters";
      expect(
        errorText(() => expectNoLeak(engine, () => x.matmul.call(x.reshape([100, 1]), x.reshape([1, 100])))),
      ).toMatchInlineSnapshot(`
        "OutOfMemoryError: allocate: 40000 bytes more exceed the limit of 1000 bytes
          live: 400 bytes in 1 buffers (parameters 400)
            400 bytes f32 parameters
          hint: make the batch or the sequence shorter, use a reversible or checkpointed model, or dispose tensors earlier (scope)"
      `);
    });
    expect(engine.memory().liveBytes).toBe(0);
  });

  test("outputs and copies already made are given back when a later allocation fails", () => {
    const engine = newEngine({ memoryLimitBytes: 1000 });
    engine.scope(() => {
      const x = zeros([120], { engine });
      // 480 bytes of values fit, 480 of positions do not.
      expect(() => dispatch(engine, ops.sort, [x], { axis: 0, descending: false })).toThrow("bytes more exceed");
      expect(engine.memory().liveBytes).toBe(480);
    });
  });
});

test("a kernel that throws leaves no output behind", () => {
  const engine = newEngine();
  const x = random(engine, 1, [4, 3]);
  const indices = tensor([0, 9], { engine, dtype: "i32" });
  const bytes = engine.memory().liveBytes;
  expect(() => x.take(indices)).toThrow(ValueError);
  expect(engine.memory().liveBytes).toBe(bytes);
  expect(engine.liveTensors).toBe(2);
});

test("a vjp that throws leaves no gradient behind", () => {
  const engine = newEngine();
  const x = random(engine, 1, [4]).requireGrad();
  const broken = ops.tanh;
  const y = x.apply(
    { ...broken, gradient: { saves: () => ({}), vjp: ({ output }): Tensor[] => [output(0)] } } as typeof broken,
    [x],
    undefined,
  );
  const loss = engine.scope(() => y.exp().sum());
  y.dispose();
  expect(() => loss.backward()).toThrow('"saves" does not declare');
  loss.dispose();
  x.dispose();
  expect(engine.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
  expect(engine.liveTensors).toBe(0);
});
