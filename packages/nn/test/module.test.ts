import { CpuBackend } from "@revnet-zero/backend-cpu";
import {
  Engine,
  expectNoLeak,
  ones,
  randomKey,
  randomNormal,
  setDefaultEngine,
  type Tensor,
  tensor,
  zeros,
} from "@revnet-zero/tensor";
import { expectBitEqualTensors } from "@revnet-zero/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dropout, Embedding, Linear, Module, Sequential } from "../src/index.ts";

let engine: Engine;
beforeEach(() => {
  engine = new Engine(new CpuBackend());
  setDefaultEngine(engine);
});
afterEach(() => setDefaultEngine(undefined));

const key = randomKey(1);

/** Every place a part can be in: a field, an array, an object, an array of objects. */
class Model extends Module {
  readonly embedding = new Embedding({ vocabulary: 5, dim: 4, key });
  readonly blocks = [
    { F: new Linear({ in: 4, out: 4, key }), G: new Dropout(0.5) },
    { F: new Linear({ in: 4, out: 4, key, bias: false }), G: new Dropout(0.5) },
  ];
  readonly head = new Linear({ weight: this.embedding.weight, bias: false });
  readonly scale: Tensor = this.parameter(ones([4]));
  readonly count: Tensor = this.buffer(zeros([2]));
  readonly cache: Tensor = this.buffer(zeros([3]), { isPersistent: false });

  override forward(tokens: Tensor): Tensor {
    let x = this.embedding.call(tokens);
    for (const { F, G } of this.blocks) x = G.call(F.call(x));
    return this.head.call(x.mul(this.scale));
  }
}

const tokens = (): Tensor => tensor([0, 3, 1], { dtype: "i32" });
const names = ["scale", "embedding.weight", "blocks.0.F.weight", "blocks.0.F.bias", "blocks.1.F.weight"];

describe("the tree", () => {
  test("lists parameters by dotted path, tied ones once under the first", () => {
    const model = new Model();
    expect([...model.namedParameters().keys()]).toEqual(names);
    expect([...model.namedBuffers().keys()]).toEqual(["count", "cache"]);
    expect(model.parameterCount()).toBe(4 + 5 * 4 + (16 + 4) + 16);
    expect([...model.namedModules().keys()]).toEqual([
      "",
      "embedding",
      "blocks.0.F",
      "blocks.0.G",
      "blocks.1.F",
      "blocks.1.G",
      "head",
    ]);
  });

  test("names tensors by their path from the outermost module", () => {
    const model = new Model();
    model.blocks[0]!.F.parameters();
    expect(model.blocks[0]!.F.weight.name).toBe("weight");
    model.parameters();
    expect(model.blocks[0]!.F.weight.name).toBe("blocks.0.F.weight");
    model.blocks[0]!.F.parameters();
    expect(model.blocks[0]!.F.weight.name).toBe("blocks.0.F.weight");
    expect([...model.blocks[0]!.F.namedParameters().keys()]).toEqual(["weight", "bias"]);
  });

  test("errors say the parameter's path", () => {
    const model = new Model();
    model.parameters();
    model.blocks[1]!.F.weight.dispose();
    expect(() => engine.noGrad(() => model.eval().call(tokens()))).toThrow("blocks.1.F.weight");
  });

  test("a tensor field that was not registered is an error that names it", () => {
    class Careless extends Module {
      readonly inner = { weight: zeros([2]) };
      override forward(x: Tensor): Tensor {
        return x;
      }
    }
    expect(() => new Careless().parameters()).toThrow(
      "Careless: field inner.weight holds [2] f32, which is neither parameter nor buffer\n  hint: this.x = this.parameter(t)",
    );
  });

  test("a view or a computed tensor cannot be a parameter", () => {
    class Holder extends Module {
      readonly weight: Tensor;
      constructor(weight: Tensor) {
        super();
        this.weight = this.parameter(weight);
      }
      override forward(x: Tensor): Tensor {
        return x;
      }
    }
    expect(() => new Holder(zeros([4]).narrow(0, 1, 2))).toThrow("shares its memory");
    expect(() => new Holder(zeros([4]).requireGrad().exp())).toThrow("recorded computation");
    expect(new Holder(zeros([4]).requireGrad()).parameterCount()).toBe(4);
  });

  test("modules reached twice, and cycles, are visited once", () => {
    class Shared extends Module {
      readonly a = new Linear({ in: 2, out: 2, key });
      readonly b = this.a;
      readonly self = this;
      override forward(x: Tensor): Tensor {
        return this.b.call(this.a.call(x));
      }
    }
    expect([...new Shared().namedParameters().keys()]).toEqual(["a.weight", "a.bias"]);
  });
});

describe("memory", () => {
  test("parameters live outside scopes, as leaves counted as parameters", () => {
    const model = engine.scope(() => new Model());
    expect(model.parameters().every((p) => p.requiresGrad && !p.isDisposed)).toBe(true);
    const values = [...model.namedParameters().values(), ...model.namedBuffers().values()];
    expect(engine.memory().live.parameters).toBe(values.reduce((n, t) => n + t.bytes, 0));
    expect(engine.memory().live.workspace).toBe(0);
  });

  test("call frees everything but its result", () => {
    const model = new Model().eval();
    const x = tokens();
    const y = engine.noGrad(() => expectNoLeakBut(1, () => model.call(x)));
    expect(y.shape).toEqual([3, 5]);
  });

  function expectNoLeakBut(tensors: number, f: () => Tensor): Tensor {
    const before = engine.liveTensors;
    const result = f();
    expect(engine.liveTensors - before).toBe(tensors);
    return result;
  }

  test("layers in sequence hold two activations at most, whatever the depth", () => {
    const peak = (depth: number): number => {
      const layers = Array.from({ length: depth }, () => new Linear({ in: 64, out: 64, key, bias: false }));
      const model = new Sequential(...layers);
      const x = zeros([32, 64]);
      engine.noGrad(() => model.call(x)).dispose();
      engine.ledger.resetPeak();
      const before = engine.memory().liveBytes;
      engine.noGrad(() => model.call(x)).dispose();
      const { peakBytes } = engine.memory();
      model.dispose();
      x.dispose();
      return peakBytes - before;
    };
    expect(peak(8)).toBe(peak(2));
    expect(peak(8)).toBe(2 * 32 * 64 * 4);
  });

  test("dispose frees parameters, gradients and buffers, and makes every part unusable", () => {
    expectNoLeak(engine, () => {
      const model = new Model().eval();
      const x = tokens();
      engine.scope(() => model.call(x).sum().backward());
      expect(engine.memory().live.gradients).toBeGreaterThan(0);
      model.dispose();
      expect(() => model.call(x)).toThrow("Model: called after dispose()");
      expect(() => model.blocks[0]!.F.call(x)).toThrow("blocks.0.F: called after dispose()");
      x.dispose();
    });
  });

  test("dispose reaches what parts own beside their fields, once", () => {
    class Counting extends Module {
      readonly weight = this.parameter(ones([2]));
      readonly #counter = engine.keep(zeros([1]));
      times = 0;
      override forward(x: Tensor): Tensor {
        return x.add(this.#counter);
      }
      override dispose(): void {
        this.times++;
        this.#counter.dispose();
        super.dispose();
      }
    }
    expectNoLeak(engine, () => {
      const inner = new Counting();
      const model = new Sequential(new Sequential(inner), new Linear({ weight: ones([2, 2]) }));
      model.dispose();
      model.dispose();
      expect(inner.times).toBe(1);
    });
  });

  test("ops report the path of the module they run in", () => {
    const seen = new Set<string>();
    const model = new Sequential(
      new Sequential(new Linear({ in: 2, out: 2, key })),
      new Linear({ in: 2, out: 2, key }),
    );
    const stop = engine.trace.listen((e) => seen.add(`${e.module} ${e.op}`));
    engine.noGrad(() => model.call(zeros([1, 2])));
    model.layers[0]!.call(zeros([1, 2]));
    stop();
    expect([...seen].filter((line) => line.endsWith("linear"))).toEqual([
      "Sequential.layers.0.layers.0 linear",
      "Sequential.layers.1 linear",
      "layers.0.layers.0 linear",
    ]);
  });
});

describe("modes", () => {
  test("train and eval reach every part", () => {
    const model = new Model();
    expect([...model.eval().namedModules().values()].some((m) => m.training)).toBe(false);
    expect([...model.train().namedModules().values()].every((m) => m.training)).toBe(true);
  });

  test("captured modes are restored inside, and the present ones afterwards, also when it throws", () => {
    const model = new Model();
    model.blocks[1]!.G.eval();
    const flags = (): boolean[] => [...model.namedModules().values()].map((m) => m.training);
    const before = flags();
    const withModes = model.captureModes();
    model.eval();
    expect(withModes(flags)).toEqual(before);
    expect(flags().some((f) => f)).toBe(false);
    expect(() =>
      withModes(() => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(flags().some((f) => f)).toBe(false);
  });

  test("a function in eval mode leaves every part in the mode it had, also when it throws", () => {
    const model = new Model();
    model.blocks[1]!.G.eval();
    const flags = (): boolean[] => [...model.namedModules().values()].map((m) => m.training);
    const before = flags();
    expect(new Set(before).size).toBe(2);
    expect(model.inEval(flags)).toEqual(before.map(() => false));
    expect(flags()).toEqual(before);
    expect(() =>
      model.inEval(() => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(flags()).toEqual(before);
  });

  test("a frozen part gets no gradients and records nothing", () => {
    const model = new Model().eval();
    model.requireGrad(false);
    expect(model.call(tokens()).requiresGrad).toBe(false);
    model.blocks[0]!.F.requireGrad();
    engine.scope(() => model.call(tokens()).sum().backward());
    expect([...model.namedParameters()].flatMap(([n, p]) => (p.grad === undefined ? [] : [n]))).toEqual([
      "blocks.0.F.weight",
      "blocks.0.F.bias",
    ]);
    model.zeroGrad();
    expect(engine.memory().live.gradients).toBe(0);
  });

  test("a tied parameter receives the gradients of both uses", async () => {
    const model = new Model().eval();
    engine.scope(() => model.call(tokens()).sum().backward());
    const both = await model.embedding.weight.grad!.data();
    // Token 2 was not looked up: its gradient is that of the head alone; token 0's has the embedding's share too.
    expect(Array.from(both.subarray(8, 12))).not.toEqual([0, 0, 0, 0]);
    expect(Array.from(both.subarray(0, 4))).not.toEqual(Array.from(both.subarray(8, 12)));
  });
});

describe("state", () => {
  test("a loaded model computes the same bits", async () => {
    const [a, b] = [new Model().eval(), new Model().eval()];
    engine.scope(() => {
      engine.noGrad(() => {
        for (const p of a.parameters()) p.assign(randomNormal(p.shape, { key }));
        a.count.assign(ones([2]));
      });
    });
    expect([...a.stateDict().keys()]).toEqual([...names.slice(0, 1), "count", ...names.slice(1)]);
    expectNoLeak(engine, () => b.loadStateDict(a.stateDict()));
    await expectBitEqualTensors(b.call(tokens()), a.call(tokens()));
    await expectBitEqualTensors(b.count, a.count);
    expect(b.blocks[0]!.F.weight.requiresGrad).toBe(true);
  });

  test("everything that does not fit is named, and nothing is written", async () => {
    const model = new Model();
    const before = await model.scale.data();
    const state = new Map(model.stateDict());
    state.set("scale", ones([4]).mul(3));
    state.set("blocks.0.F.weight", zeros([4, 3]));
    state.set("blocks.0.F.bias", zeros([4], { dtype: "f64" }));
    state.delete("embedding.weight");
    state.set("extra", zeros([1]));
    let message = "";
    try {
      model.loadStateDict(state);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain("the state does not fit Model:");
    expect(message).toContain("missing: embedding.weight [5, 4] f32");
    expect(message).toContain("mismatched: blocks.0.F.weight is [4, 4] f32 here and [4, 3] f32 in the state");
    expect(message).toContain("mismatched: blocks.0.F.bias is [4] f32 here and [4] f64 in the state");
    expect(message).toContain("unexpected: extra [1] f32");
    expect(message).toContain("hint: ");
    expect(await model.scale.data()).toEqual(before);
  });

  test("without strict, what is there is loaded and the rest is left", async () => {
    const model = new Model();
    model.loadStateDict(new Map([["scale", ones([4]).mul(3)]]), { strict: false });
    expect(Array.from(await model.scale.data())).toEqual([3, 3, 3, 3]);
    expect(() => model.loadStateDict(new Map([["scale", ones([5])]]), { strict: false })).toThrow("mismatched: scale");
  });

  test("loading between forward and backward is caught", () => {
    const model = new Model().eval();
    const loss = model.call(tokens()).sum();
    model.loadStateDict(new Model().stateDict());
    expect(() => loss.backward()).toThrow("modified in place");
  });
});
