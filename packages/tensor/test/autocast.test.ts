import { CpuBackend } from "@revnet-zero/backend-cpu";
import {
  expectBitEqual,
  expectBitEqualTensors,
  operandsOf,
  runs,
  samples,
  subject,
  wrapBackend,
} from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AnyOp,
  type DType,
  dispatch,
  Engine,
  isFloat,
  type OpEvent,
  type OpName,
  ops,
  type Tensor,
  tensor,
} from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";
import { programs, run, shape } from "./programs.ts";

const names = Object.keys(ops) as OpName[];
const policyOf = (name: OpName): "low" | "high" | undefined => (ops[name] as AnyOp).autocast;

/** What the policy makes of operand i. */
function byHand(name: OpName, low: DType, t: Tensor, i: number): Tensor {
  const policy = policyOf(name);
  if (policy === undefined || !isFloat(t.dtype) || t.dtype === "f64") return t;
  if ((ops[name] as AnyOp).readsAnyFloat?.includes(i) === true) return t;
  return t.cast(policy === "low" ? low : "f32");
}

/** Calls of an op with operands of one type, as tensors. */
const calls = (name: OpName, dtype: DType) => samples(subject(name).sampler, { dtype, values: "smooth" });

test("the products compute low, and norms and softmax high", () => {
  expect({
    low: names.filter((n) => policyOf(n) === "low"),
    high: names.filter((n) => policyOf(n) === "high"),
  }).toMatchInlineSnapshot(`
    {
      "high": [
        "addNorm",
        "fixedPointAddNorm",
        "fixedPointNorm",
        "layerNorm",
        "layerNormBackward",
        "rmsNorm",
        "rmsNormBackward",
        "logSoftmax",
        "softmax",
        "softmaxBackward",
      ],
      "low": [
        "attention",
        "conv2d",
        "conv2dInputGradient",
        "conv2dWeightGradient",
        "feedForward",
        "headAttention",
        "linear",
        "matmul",
        "sparseAttention",
      ],
    }
  `);
});

describe("an op under autocast has the bits of the op on operands cast by hand", () => {
  test.each(names.filter((n) => policyOf(n) !== undefined))("%s", async (name) => {
    const { op, sampler } = subject(name);
    const engine = newEngine();
    const types = sampler.dtypes.filter(isFloat);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...types).chain((dtype) => calls(name, dtype)),
        fc.constantFrom<DType>("bf16", "f16"),
        async (sample, low) => {
          const scope = engine.openScope();
          const free = operandsOf(engine, sample);
          const inputs = sampler.complete?.(free, sample.attrs) ?? free;
          const automatic = engine.autocast(low, () => dispatch(engine, op, inputs, sample.attrs));
          const manual = dispatch(
            engine,
            op,
            inputs.map((t, i) => byHand(name, low, t, i)),
            sample.attrs,
          );
          for (const [i, t] of automatic.entries()) await expectBitEqualTensors(t, manual[i]!, `output ${i}`);
          scope.close();
        },
      ),
      runs(20),
    );
    expect(engine.liveTensors).toBe(0);
  });
});

test("ops without a policy, integers and f64 are left as they are", () => {
  const engine = newEngine();
  engine.scope(() => {
    const [x, wide] = [random(engine, 1, [2, 2]), random(engine, 2, [2, 2], "f64")];
    const events: OpEvent[] = [];
    const plain = [x.add(1).exp().sum(), wide.matmul(wide).softmax()].map((t) => t.dataSync());
    engine.trace.listen((e) => events.push(e));
    const cast = engine.autocast("bf16", () => [x.add(1).exp().sum(), wide.matmul(wide).softmax()]);
    for (const [i, t] of cast.entries()) expectBitEqual(t.dataSync(), plain[i]!);
    expect(events.map((e) => e.op)).not.toContain("cast");
  });
});

/** A small network: products, a norm, attention, a loss. Parameters and input are f32. */
const network = (x: Tensor, w: Tensor, gain: Tensor, targets: Tensor): Tensor => {
  const h = x.rmsNorm(gain).linear(w, undefined, "gelu");
  const heads = (t: Tensor): Tensor => t.reshape([1, 1, 4, 6]);
  const mixed = heads(h).attention(heads(h), heads(x), { isCausal: true }).reshape([4, 6]).add(x);
  return mixed.matmul(w.transpose()).crossEntropy(targets).mean();
};

/** The network's gradients where forward and backward run in the given surroundings. */
function gradients(engine: Engine, around: (f: () => Tensor) => Tensor, backward: (f: () => void) => void): Tensor[] {
  const leaves = [random(engine, 1, [4, 6]), random(engine, 2, [6, 6]), random(engine, 3, [6])].map((t) =>
    t.requireGrad(),
  );
  engine.scope(() => {
    const [x, w, gain] = leaves as [Tensor, Tensor, Tensor];
    const loss = around(() => network(x, w, gain, x.rangeOf(4, "i32")));
    backward(() => loss.backward());
  });
  return leaves.map((t) => t.grad!);
}

describe("gradients", () => {
  const plainly = (f: () => Tensor): Tensor => f();
  const here = (f: () => void): void => f();

  test("arrive in f32 for f32 parameters, and are those of the casts written out", () => {
    const engine = newEngine();
    const automatic = gradients(engine, (f) => engine.autocast("bf16", f), here);
    expect(automatic.map((g) => g.dtype)).toEqual(["f32", "f32", "f32"]);
    const [x, w, gain] = [random(engine, 1, [4, 6]), random(engine, 2, [6, 6]), random(engine, 3, [6])].map((t) =>
      t.requireGrad(),
    ) as [Tensor, Tensor, Tensor];
    const low = (t: Tensor): Tensor => t.cast("bf16");
    const h = low(x.rmsNorm(gain)).linear(low(w), undefined, "gelu");
    const heads = (t: Tensor): Tensor => t.reshape([1, 1, 4, 6]);
    // h is bf16 already; autocast casts each operand of its own.
    const mixed = heads(h)
      .attention(heads(h), low(heads(x)), { isCausal: true })
      .reshape([4, 6])
      .add(x);
    low(mixed).matmul(low(w.transpose())).cast("f32").crossEntropy(x.rangeOf(4, "i32")).mean().backward();
    for (const [i, t] of [x, w, gain].entries()) expectBitEqual(automatic[i]!.dataSync(), t.grad!.dataSync());
  });

  test("do not depend on whether backward runs inside autocast: the recorded types decide", () => {
    const engine = newEngine();
    const outside = gradients(engine, (f) => engine.autocast("bf16", f), here);
    const inside = gradients(
      engine,
      (f) => engine.autocast("bf16", f),
      (f) => engine.autocast("bf16", f),
    );
    for (const [i, g] of inside.entries()) expectBitEqual(g.dataSync(), outside[i]!.dataSync());
    const f32 = gradients(engine, plainly, here);
    const f32Inside = gradients(engine, plainly, (f) => engine.autocast("f16", f));
    for (const [i, g] of f32Inside.entries()) expectBitEqual(g.dataSync(), f32[i]!.dataSync());
  });

  test("have the types of the leaves in random programs, with backward in any surroundings", () => {
    const engine = newEngine();
    const autocast = fc.constantFrom<DType | undefined>("bf16", "f16", undefined);
    fc.assert(
      fc.property(programs, fc.nat({ max: 1000 }), autocast, autocast, (program, seed, forward, backward) => {
        engine.scope(() => {
          const once = (around: DType | undefined): Tensor[] => {
            const xs = Array.from({ length: program.inputs }, (_, i) => random(engine, seed + i, shape).requireGrad());
            const loss = engine.autocast(forward, () => run(program)(...xs).sum());
            if (loss.requiresGrad) engine.autocast(around, () => loss.backward());
            return xs.map((x) => x.grad ?? x.zerosLike());
          };
          const [reference, inside] = [once(undefined), once(backward)];
          for (const [i, g] of inside.entries()) {
            expect(g.dtype).toBe("f32");
            expectBitEqual(g.dataSync(), reference[i]!.dataSync());
          }
        });
      }),
      runs(60),
    );
    expect(engine.liveTensors).toBe(0);
  });
});

describe("scopes of autocast", () => {
  const engine = newEngine();
  const x = random(engine, 1, [2, 2]);
  const type = (): DType => x.matmul(x).dtype;

  test("nest, are switched off inside, and end with their function, also when it throws", () => {
    const seen = engine.autocast("bf16", () => [
      type(),
      engine.autocast("f16", type),
      engine.autocast(undefined, type),
      type(),
    ]);
    expect(seen).toEqual(["bf16", "f16", "f32", "bf16"]);
    expect(() =>
      engine.autocast("bf16", () => {
        throw new Error("oops");
      }),
    ).toThrow("oops");
    expect(type()).toBe("f32");
  });

  test("belong to their engine", () => {
    const other = newEngine();
    const y = random(other, 1, [2, 2]);
    expect(engine.autocast("bf16", () => y.matmul(y).dtype)).toBe("f32");
  });

  test("leave nothing behind but the result", () => {
    const before = engine.liveTensors;
    const y = engine.autocast("bf16", () => x.matmul(x));
    expect(engine.liveTensors).toBe(before + 1);
    y.dispose();
  });
});

describe("a decomposed op under autocast has the promised types", () => {
  const kernels = Object.fromEntries(names.filter((n) => ops[n].kind === "fused").map((n) => [n, undefined]));
  test.each(names.filter((n) => ops[n].kind === "fused" && policyOf(n) !== undefined))("%s", (name) => {
    const { op, sampler } = subject(name);
    const engine = new Engine(wrapBackend(new CpuBackend(), { kernels }));
    fc.assert(
      fc.property(calls(name, "f32"), (sample) => {
        engine.scope(() => {
          const free = operandsOf(engine, sample);
          const inputs = sampler.complete?.(free, sample.attrs) ?? free;
          const cast = inputs.map((t, i) => byHand(name, "bf16", t, i));
          const promised = op.meta(cast, sample.attrs).map((m) => m.dtype);
          expect(engine.autocast("bf16", () => dispatch(engine, op, inputs, sample.attrs)).map((t) => t.dtype)).toEqual(
            promised,
          );
        });
      }),
      runs(10),
    );
  });
});

test("a parameter's gradient is in its own type, whoever else reads the copy that a product read", () => {
  const engine = newEngine();
  engine.scope(() => {
    const values = [1.5, -2.25, 0.5, 3];
    const w = tensor(values, { shape: [2, 2], engine }).requireGrad();
    const x = tensor([1, 2, 3, 4], { shape: [2, 2], dtype: "bf16", engine });
    const low = w.cast("bf16");
    // A product's gradient comes wide, an elementwise op's in the copy's type: their sum is the parameter's.
    x.linear(low).sum().cast("f32").add(low.mul(low).sum().cast("f32")).backward();
    const columns = [4, 6];
    expect(w.grad!.dtype).toBe("f32");
    expect(Array.from(w.grad!.dataSync())).toEqual(values.map((v, i) => columns[i % 2]! + 2 * v));
  });
});
