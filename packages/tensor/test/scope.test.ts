import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { arange, expectNoLeak, Tensor, tensor, zeros } from "../src/index.ts";
import { newEngine, random, valuesOf } from "./engine.fixture.ts";

describe("scope", () => {
  test("disposes what was made inside, except what is returned", () => {
    const engine = newEngine();
    const inside: Tensor[] = [];
    const out = engine.scope(() => {
      const x = tensor([1, 2], { engine });
      const y = x.mul(2);
      inside.push(x, y);
      return y.add(1);
    });
    expect(inside.map((t) => t.isDisposed)).toEqual([true, true]);
    expect(valuesOf(out)).toEqual([3, 5]);
    expect(engine.liveTensors).toBe(1);
    out.dispose();
    expect(engine.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
  });

  test("finds returned tensors in arrays, maps and plain objects, and hands them to the outer scope", () => {
    const engine = newEngine();
    const make = (): Tensor => zeros([1], { engine });
    const found = engine.scope(() => {
      const inner = engine.scope(() => ({ list: [make(), [make()]], map: new Map([["k", make()]]), other: 3 }));
      make();
      return [inner.list, inner.map];
    });
    expect(found.flat(3)).toHaveLength(3);
    expect(engine.liveTensors).toBe(3);
  });

  test("disposes on the way out of an exception", () => {
    const engine = newEngine();
    expect(() =>
      engine.scope(() => {
        zeros([4], { engine });
        throw new Error("oops");
      }),
    ).toThrow("oops");
    expect(engine.liveTensors).toBe(0);
  });

  test("keep takes a tensor out of all scopes; adopt puts it into the innermost", () => {
    const engine = newEngine();
    let kept: Tensor | undefined;
    engine.scope(() => {
      engine.scope(() => {
        kept = engine.keep(zeros([2], { engine }));
      });
    });
    expect(kept!.isDisposed).toBe(false);
    engine.scope(() => engine.adopt(kept!).size);
    expect(kept!.isDisposed).toBe(true);
  });

  test("a returned tensor that was made outside stays with its owner", () => {
    const engine = newEngine();
    const outer = zeros([2], { engine });
    expect(engine.scope(() => outer)).toBe(outer);
    engine.scope(() => {
      engine.scope(() => outer);
    });
    expect(outer.isDisposed).toBe(false);
  });

  test("a promise is refused, and what to write instead is said", () => {
    const engine = newEngine();
    expect(errorText(() => engine.scope(async () => zeros([1], { engine })))).toMatchInlineSnapshot(`
      "ValueError: scope: the function is asynchronous
        hint: const s = engine.openScope(); try { await … } finally { s.close() }"
    `);
    expect(engine.liveTensors).toBe(0);
  });

  test("two tasks that interleave on one stack are told so", async () => {
    const engine = newEngine();
    const task = async (wait: Promise<void>): Promise<void> => {
      const scope = engine.openScope("task");
      await wait;
      scope.close();
    };
    const first = task(Promise.resolve());
    const second = task(Promise.resolve().then(() => {}));
    await expect(first).rejects.toThrowErrorMatchingInlineSnapshot(`
      [LifetimeError: scope: "task" closed while "task" is innermost: two tasks interleave on one scope stack
        hint: await one task before starting the next, or give each its own Engine]
    `);
    await second;
  });

  test("the explicit form closes once, by hand or by using, and lets tensors escape", () => {
    const engine = newEngine();
    let escaped: Tensor;
    {
      using outer = engine.openScope("outer");
      expect(outer).toBeDefined();
      const inner = engine.openScope("inner");
      zeros([1], { engine });
      escaped = zeros([2], { engine });
      inner.close(escaped);
      expect(engine.liveTensors).toBe(1);
    }
    expect(escaped.isDisposed).toBe(true);
  });
});

describe("lifetime", () => {
  test("using disposes at the end of the block", () => {
    const engine = newEngine();
    {
      using x = zeros([8], { engine });
      expect(x.bytes).toBe(32);
    }
    expect(engine.memory().liveBytes).toBe(0);
  });

  test("disposing twice is harmless, using after is an error that names the tensor", () => {
    const engine = newEngine();
    const x = zeros([2, 3], { engine });
    x.name = "decoder.weight";
    x.dispose();
    x.dispose();
    expect(engine.liveTensors).toBe(0);
    expect(errorText(() => x.add(1))).toMatchInlineSnapshot(`
      "LifetimeError: add: operand [2, 3] f32 (decoder.weight) was disposed
        hint: return it from its scope, or engine.keep(t) it"
    `);
    expect(errorText(() => x.dataSync())).toContain("was disposed");
  });

  test("views share the buffer, which lives as long as the last of them", () => {
    const engine = newEngine();
    const x = random(engine, 1, [4, 6]);
    const view = engine.scope(() => x.transpose().narrow(0, 1, 2));
    const before = valuesOf(view);
    expect(engine.memory().liveBuffers).toBe(1);
    x.dispose();
    expect(valuesOf(view)).toEqual(before);
    view.dispose();
    expect(engine.memory().liveBuffers).toBe(0);
  });

  test("the graph keeps what backward needs after its handle is gone", () => {
    const engine = newEngine();
    const x = tensor([3], { engine }).requireGrad();
    const y = engine.scope(() => x.square().mul(x).sum());
    expect(engine.liveTensors).toBe(2);
    y.backward();
    expect(valuesOf(x.grad)).toEqual([27]);
    y.dispose();
    x.dispose();
    expect(engine.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
  });

  test("a graph nobody refers to frees what it saved, however deep it is", () => {
    const engine = newEngine();
    const x = tensor([0.5], { engine }).requireGrad();
    let y = x.mul(1);
    for (let i = 0; i < 20_000; i++) {
      const next = y.tanh();
      y.dispose();
      y = next;
    }
    expect(engine.memory().live.saved).toBeGreaterThan(70_000);
    y.dispose();
    expect(engine.memory().live).toMatchObject({ saved: 0 });
  });
});

describe("expectNoLeak", () => {
  test("names bytes, dtype and category of what was left", () => {
    const engine = newEngine();
    expect(expectNoLeak(engine, () => engine.scope(() => zeros([3], { engine }).mul(2).size))).toBe(3);
    expect(errorText(() => expectNoLeak(engine, () => zeros([3], { engine })))).toMatchInlineSnapshot(`
      "LifetimeError: expectNoLeak: 1 tensors and 12 bytes leaked
          12 bytes f32 workspace
        hint: wrap the computation in scope(() => …) or dispose its tensors; REVNET_LEAKS=1 names the places"
    `);
  });

  test("waits for a promise", async () => {
    const engine = newEngine();
    await expect(
      expectNoLeak(engine, async () => {
        await Promise.resolve();
        zeros([3], { engine });
      }),
    ).rejects.toThrow("12 bytes leaked");
  });
});

interface Given {
  readonly x: Tensor; // [4, 6]
  readonly heads: Tensor; // [1, 2, 3, 4]
  readonly signal: Tensor; // [1, 4, 6]
  readonly kernel: Tensor; // [4, 1, 3]
  readonly mask: Tensor; // [4, 6] bool
  readonly count: Tensor; // [6] i32
  readonly turned: Tensor; // [6, 4], a view
}

/** Every method that is made of several ops: what it makes on the way must not outlive it, scope or none. */
const composites: Record<string, (given: Given) => unknown> = {
  mean: ({ x }) => x.mean(),
  "mean of integers": ({ count }) => count.mean(),
  variance: ({ x }) => x.variance(1, { correction: 1 }),
  any: ({ x }) => x.any(),
  all: ({ x }) => x.all(0),
  logSumExp: ({ x }) => x.logSumExp(0),
  "softmax over the first axis": ({ x }) => x.softmax(0),
  "logSoftmax over the first axis": ({ x }) => x.logSoftmax(0),
  sumTo: ({ x }) => x.sumTo([6]),
  "an operand of another type": ({ x, count }) => x.add(count),
  where: ({ x, mask }) => mask.where(x, 0),
  "where of two types": ({ x, mask, count }) => mask.where(count, x),
  "reshape of a transposed tensor": ({ turned }) => turned.reshape([24]),
  split: ({ x }) => x.split(2, 0),
  topk: ({ x }) => x.topk(2),
  conv1d: ({ signal, kernel }) => signal.conv1d(kernel, { groups: 4 }),
  linear: ({ x }) => x.linear(x, undefined, "gelu"),
  attention: ({ heads }) => heads.attention(heads, heads),
  "a product under autocast": ({ x, turned }) => x.engine.autocast("bf16", () => x.matmul(turned)),
  "a norm under autocast": ({ x }) => x.engine.autocast("bf16", () => x.softmax()),
};

function tensorsOf(result: unknown): Tensor[] {
  if (Array.isArray(result)) return result;
  return result instanceof Tensor ? [result] : (Object.values(result as object) as Tensor[]);
}

describe("without a scope", () => {
  test.each(Object.keys(composites))("%s leaves nothing but its result", (name) => {
    const engine = newEngine();
    const given = engine.scope((): Given => {
      const x = random(engine, 1, [4, 6]);
      return {
        x,
        heads: random(engine, 2, [1, 2, 3, 4]),
        signal: random(engine, 3, [1, 4, 6]),
        kernel: random(engine, 4, [4, 1, 3]),
        mask: x.greater(0),
        count: arange(6, { engine }),
        turned: x.transpose(),
      };
    });
    const run = (): void => {
      for (const t of tensorsOf(composites[name]!(given))) t.dispose();
    };
    expectNoLeak(engine, run);
    // The graph owns nothing that disposing the result does not free.
    given.x.requireGrad();
    given.heads.requireGrad();
    expectNoLeak(engine, run);
  });
});
