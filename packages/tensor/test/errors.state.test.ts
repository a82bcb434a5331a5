import { CpuBackend } from "@revnet-zero/backend-cpu";
import { errorText, rejectionText, wrapBackend } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import {
  type DType,
  defaultEngine,
  dispatch,
  Engine,
  elementwise,
  full,
  hasDefaultEngine,
  NonFiniteError,
  ops,
  type Shape,
  setDefaultEngine,
  type Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import { leaf, newEngine } from "./engine.fixture.ts";

/** The messages of several mistakes, one under the other. */
const texts = (...mistakes: (() => unknown)[]): string => `\n${mistakes.map(errorText).join("\n")}\n`;

const engine = newEngine();
const t = (shape: Shape, dtype: DType = "f32"): Tensor => zeros(shape, { dtype, engine });

describe("tensors that are gone or belong elsewhere are refused", () => {
  test("after dispose, the name of a parameter included", () => {
    const gone = t([2, 3]);
    gone.dispose();
    const weight = t([3]);
    weight.name = "head.weight";
    weight.dispose();
    expect(
      texts(
        () => gone.add(1),
        () => t([2, 3]).rmsNorm(weight),
        () => gone.dataSync(),
        () => gone.detach(),
        () => gone.transpose(),
      ),
    ).toMatchInlineSnapshot(`
      "
      LifetimeError: add: operand [2, 3] f32 was disposed
        hint: return it from its scope, or engine.keep(t) it
      LifetimeError: rmsNorm: operand [3] f32 (head.weight) was disposed
        hint: return it from its scope, or engine.keep(t) it
      LifetimeError: dataSync: operand [2, 3] f32 was disposed
        hint: return it from its scope, or engine.keep(t) it
      LifetimeError: detach: operand [2, 3] f32 was disposed
        hint: return it from its scope, or engine.keep(t) it
      LifetimeError: permute: operand [2, 3] f32 was disposed
        hint: return it from its scope, or engine.keep(t) it
      "
    `);
  });

  test("operands of two engines, and too few operands", () => {
    const other = newEngine();
    expect(
      texts(
        () => t([2]).add(zeros([2], { engine: other })),
        () => dispatch(engine, ops.matmul, [t([2, 2])], undefined),
      ),
    ).toMatchInlineSnapshot(`
      "
      BackendError: add: operands belong to two engines (cpu and cpu)
        hint: make both on one engine, or move one with t.to(engine)
      ValueError: matmul: takes 2 tensors, got 1
        hint: matmul is: matrix product over the last two axes, leading axes broadcast; of i8 the exact i32
      "
    `);
  });

  test("without a default engine", () => {
    const before = hasDefaultEngine() ? defaultEngine() : undefined;
    setDefaultEngine(undefined);
    expect(errorText(() => zeros([1]))).toMatchInlineSnapshot(`
      "BackendError: engine: no default engine is set
        hint: import "revnet-zero", which picks the best backend present, or call setDefaultEngine(new Engine(new CpuBackend()))"
    `);
    setDefaultEngine(before);
  });
});

describe("differentiation that the graph cannot give is refused", () => {
  test("without a graph, of no scalar, of a gradient that does not fit", () => {
    const x = leaf(engine, [1, 2]);
    expect(
      texts(
        () => t([]).backward(),
        () => engine.noGrad(() => x.sum()).backward(),
        () => x.mul(2).backward(),
        () => x.mul(2).backward({ gradient: t([3]) }),
        () =>
          x
            .mul(2)
            .softmax()
            .backward({ gradient: t([2], "f64") }),
        () => t([2], "bool").requireGrad(),
        () => x.mul(2).requireGrad(false),
      ),
    ).toMatchInlineSnapshot(`
      "
      AutogradError: backward: [] f32 does not depend on any tensor that requires a gradient
        hint: call requireGrad() on the inputs, or check that the computation is not inside noGrad
      AutogradError: backward: [] f32 does not depend on any tensor that requires a gradient
        hint: call requireGrad() on the inputs, or check that the computation is not inside noGrad
      AutogradError: backward: [2] f32 is not a scalar
        hint: reduce it with sum() or mean(), or pass { gradient }
      AutogradError: backward: gradient [3] f32 does not match output [2] f32
        hint: a cotangent has the shape of its output and is f32
      AutogradError: backward: gradient [2] f64 does not match output [2] f32
        hint: a cotangent has the shape of its output and is f32
      AutogradError: requireGrad: [2] bool has no gradient
        hint: cast it first: x.cast("f32")
      AutogradError: requireGrad: only a leaf can stop requiring a gradient
        hint: use detach() on a computed tensor
      "
    `);
  });

  test("of a vjp that returns another shape", () => {
    const wrong = elementwise({ ...ops.neg, name: "wrong", gradient: { saves: () => ({}), vjp: () => [t([3])] } });
    const x = leaf(engine, [1, 2]);
    expect(errorText(() => x.apply(wrong, [x], undefined).sum().backward())).toMatchInlineSnapshot(`
      "AutogradError: wrong: gradient of input 0 is [3] f32, the input is [2] f32
        hint: a vjp returns gradients of the inputs' dtypes and shapes, or of the shape they broadcast to"
    `);
  });
});

describe("a backend's limits are told", () => {
  test("no synchronous reading", async () => {
    const { readSync: _, ...asynchronous } = wrapBackend(new CpuBackend(), { isSynchronous: false, name: "far" });
    const far = new Engine(asynchronous);
    const x = tensor([1, 2], { engine: far });
    expect(errorText(() => x.dataSync())).toMatchInlineSnapshot(`
      "BackendError: dataSync: the far backend cannot be read synchronously
        hint: await t.data() instead"
    `);
    expect([...(await x.data())]).toEqual([1, 2]);
    x.dispose();
    expect(await rejectionText(x.data())).toMatchInlineSnapshot(`
      "LifetimeError: data: operand [2] f32 was disposed
        hint: return it from its scope, or engine.keep(t) it"
    `);
  });

  test("a kernel that takes other types", () => {
    const backend = new CpuBackend();
    const sum = { ...backend.kernels.sum, dtypes: ["f32" as const] };
    const narrow = new Engine(wrapBackend(backend, { kernels: { sum: sum as never }, name: "narrow" }));
    expect(errorText(() => zeros([2], { dtype: "f64", engine: narrow }).sum())).toMatchInlineSnapshot(`
      "DTypeError: sum: the narrow kernel takes f32, got [2] f64
        hint: cast the operands"
    `);
  });

  test("memory that is exhausted, with what lives in it", () => {
    const small = newEngine({ memoryLimitBytes: 100 });
    const w = zeros([20], { engine: small });
    expect(errorText(() => w.add(1))).toMatchInlineSnapshot(`
      "OutOfMemoryError: allocate: 80 bytes more exceed the limit of 100 bytes
        live: 84 bytes in 2 buffers (workspace 84)
          80 bytes f32 workspace
          4 bytes f32 workspace
        hint: make the batch or the sequence shorter, use a reversible or checkpointed model, or dispose tensors earlier (scope)"
    `);
    expect(small.memory().liveBytes).toBe(80);
  });
});

describe("checksFinite", () => {
  const checking = newEngine();
  checking.checksFinite = true;

  test("names the op, the element and the module of the first number that is none", () => {
    const x = tensor(
      [
        [1, 4],
        [0, 9],
      ],
      { engine: checking },
    );
    const inside = () => checking.inModule("blocks.3", () => checking.inModule("mlp", () => x.log().sum()));
    expect(errorText(inside)).toMatchInlineSnapshot(`
      "NonFiniteError: log: output [2, 2] f32 has -Infinity at element 2 in blocks.3.mlp
        hint: look at this layer's inputs and parameters; a lower learning rate or clipping often helps"
    `);
    expect(inside).toThrow(NonFiniteError);
    expect(errorText(() => tensor([3e38], { engine: checking }).mul(2))).toMatchInlineSnapshot(`
      "NonFiniteError: mul: output [1] f32 has Infinity at element 0
        hint: look at this layer's inputs and parameters; a lower learning rate or clipping often helps"
    `);
  });

  test("looks at gradients too, and at nothing when it is off", () => {
    const x = leaf(checking, [0]);
    const y = x.sqrt().sum();
    expect(errorText(() => y.backward())).toMatchInlineSnapshot(`
      "NonFiniteError: sqrtGrad: output [1] f32 has Infinity at element 0
        hint: look at this layer's inputs and parameters; a lower learning rate or clipping often helps"
    `);
    checking.checksFinite = false;
    expect(x.div(0).isNaN().itemSync()).toBe(1);
    checking.checksFinite = true;
  });
});

test("an error frees what the op had begun, outside of any scope too", () => {
  const own = newEngine();
  const x = full([2, 3], 1, { engine: own });
  const places = tensor(Int32Array.of(7, 7), { engine: own });
  const before = [own.memory().live, own.liveTensors];
  expect(() => x.take(places)).toThrow("names none of 2 places");
  expect(() => x.matmul(x)).toThrow("inner sizes differ");
  // The operand was cast on its way to the sum.
  expect(() => x.add(places)).toThrow("cannot broadcast");
  expect(() => x.bitwiseAnd(1)).toThrow("needs integer tensors");
  expect([own.memory().live, own.liveTensors]).toEqual(before);
});
