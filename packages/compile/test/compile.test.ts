import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import {
  Engine,
  foldKey,
  hostValues,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
  toWords,
} from "@revnet-zero/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile } from "../src/index.ts";

const backends = [
  ["cpu", () => new CpuBackend()],
  ["reference", () => new ReferenceBackend()],
] as const;

const bits = (t: Tensor): unknown => toWords(t.dataSync(), t.dtype);

/** Elementwise ops of one and two operands that stay finite. */
const unary = ["neg", "abs", "tanh", "sigmoid", "relu", "gelu", "sin", "square", "exp"] as const;
const binary = ["add", "sub", "mul", "maximum", "minimum"] as const;
type Node = {
  readonly op: (typeof unary)[number] | (typeof binary)[number] | "sum" | "transpose";
  readonly a: number;
  readonly b: number;
};

/** A program over a growing list of [3, 3] tensors. */
const programs = fc.array(
  fc.record({
    op: fc.constantFrom(...unary, ...binary, "sum" as const, "transpose" as const),
    a: fc.nat(),
    b: fc.nat(),
  }),
  { minLength: 1, maxLength: 12 },
);

function runProgram(nodes: readonly Node[], ...args: readonly Tensor[]): Tensor[] {
  const values = [...args];
  for (const { op, a, b } of nodes) {
    const x = values[a % values.length]!;
    const y = values[b % values.length]!;
    if (op === "sum") values.push(x.sum(0));
    else if (op === "transpose") values.push(x.rank === 2 ? x.transpose() : x.neg());
    else if ((binary as readonly string[]).includes(op)) values.push((x[op as "add"] as (y: Tensor) => Tensor)(y));
    else values.push((x[op as "neg"] as () => Tensor)());
  }
  return values.slice(-2);
}

describe.each(backends)("a recorded function on %s", (_, make) => {
  test("has the bits of the function, whatever it computes", () => {
    fc.assert(
      fc.property(programs, fc.integer({ min: 0, max: 999 }), (nodes, seed) => {
        const engine = new Engine(make());
        const recorded = compile((...args: readonly Tensor[]) => runProgram(nodes, ...args));
        for (let call = 0; call < 4; call++) {
          engine.scope(() => {
            const key = foldKey(randomKey(seed), call);
            const args = [0, 1].map((i) => randomNormal([3, 3], { key: foldKey(key, i), engine }));
            const expected = runProgram(nodes, ...args);
            const found = recorded(...args);
            expect(found.map(bits)).toEqual(expected.map(bits));
            expect(found.map((t) => t.shape)).toEqual(expected.map((t) => t.shape));
          });
        }
        expect(recorded.reason).toBeUndefined();
        recorded.dispose();
        expect(engine.memory().liveBytes).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test("draws new random numbers at every call, those that the function would draw", () => {
    const engine = new Engine(make());
    const f = (x: Tensor): Tensor => {
      const first = x.dropout(0.5, engine.nextKey("first"));
      return engine.withFoldedKey(7, () => first.dropout(0.25, engine.nextKey("second"))).add(1);
    };
    const recorded = compile(f);
    const x = engine.keep(
      tensor(
        Array.from({ length: 64 }, (_, i) => i + 1),
        { engine },
      ),
    );
    const seen = new Set<string>();
    for (let step = 0; step < 5; step++) {
      const key = foldKey(randomKey(1), step);
      const [found, expected, next, nextExpected] = engine.scope(() => {
        const run = (g: (x: Tensor) => Tensor) => engine.withKey(key, () => [bits(g(x)), engine.nextKey("after")]);
        return [...run(recorded), ...run(f)] as const;
      }) as [unknown, unknown, unknown, unknown];
      expect(found).toEqual(next);
      expect(expected).toEqual(nextExpected);
      seen.add(String(found));
    }
    expect(recorded.reason).toBeUndefined();
    expect(seen.size).toBe(5);
  });

  test("writes to tensors made outside as the function does", () => {
    const engine = new Engine(make());
    const total = engine.keep(tensor([0, 0], { engine }));
    const recorded = compile((x: Tensor) => {
      total.assign(total.add(x));
      return total.mul(2);
    });
    const results = [1, 2, 3, 4].map((v) =>
      engine.scope(() => Array.from(recorded(tensor([v, -v], { engine })).dataSync())),
    );
    expect(results).toEqual([
      [2, -2],
      [6, -6],
      [12, -12],
      [20, -20],
    ]);
    expect(recorded.reason).toBeUndefined();
    expect(Array.from(total.dataSync())).toEqual([10, -10]);
  });
});

const engine = new Engine(new CpuBackend());
const x = engine.keep(tensor([[1, 2, 3]], { engine }));

/** Calls three times, by when a recording has been made and used where one can be. */
const settle = (f: (x: Tensor) => Tensor): void => {
  for (let call = 0; call < 3; call++) f(x).dispose();
};

test("joins elementwise ops that follow each other", () => {
  const recorded = compile((t: Tensor) => t.mul(3).add(1).tanh().mul(t).sum());
  settle(recorded);
  expect(recorded.recordings).toMatchObject([{ recorded: 7, instructions: 2 }]);
});

test("records every kind of argument apart, and keeps eight", () => {
  let runs = 0;
  const recorded = compile((t: Tensor) => {
    runs++;
    return t.add(1);
  });
  for (let n = 1; n <= 10; n++) {
    const t = engine.keep(tensor(new Float32Array(n), { engine }));
    for (let call = 0; call < 4; call++) recorded(t).dispose();
    t.dispose();
  }
  expect(runs).toBe(20);
  expect(recorded.recordings.map((r) => r.signature.split("]")[0])).toEqual(
    [3, 4, 5, 6, 7, 8, 9, 10].map((n) => `f32[${n}`),
  );
});

describe("runs the function itself, and says why,", () => {
  test("where it reads values on the host", () => {
    const recorded = compile((t: Tensor) => t.mul(t.sum().itemSync()));
    settle(recorded);
    expect(recorded.reason).toBe("it reads values on the host");
    expect(Array.from(recorded(x).dataSync())).toEqual([6, 12, 18]);
  });

  test("where it keeps a tensor that it does not return", () => {
    const kept: Tensor[] = [];
    const recorded = compile((t: Tensor) => {
      kept.push(engine.keep(t.add(1)));
      return t.mul(2);
    });
    settle(recorded);
    expect(recorded.reason).toBe("it keeps a tensor that it does not return (3 elements, f32)");
    expect(kept.length).toBe(3);
    for (const t of kept) t.dispose();
  });

  test("where it frees a tensor that was made outside", () => {
    const recorded = compile((t: Tensor) => {
      const sum = t.add(1);
      if (t !== x) t.dispose();
      return sum;
    });
    for (let call = 0; call < 3; call++) recorded(x.mul(2)).dispose();
    expect(recorded.reason).toBe("it frees a tensor that was made outside");
  });

  test("where the guard answers otherwise", () => {
    let factor = 2;
    const recorded = compile((t: Tensor) => t.mul(factor), { guard: () => `factor ${factor}` });
    settle(recorded);
    factor = 3;
    expect(Array.from(recorded(x).dataSync())).toEqual([3, 6, 9]);
    settle(recorded);
    expect(Array.from(recorded(x).dataSync())).toEqual([3, 6, 9]);
    expect(recorded.reason).toBeUndefined();
    expect(recorded.recordings.length).toBe(2);
  });

  test("where a tensor that it used was disposed since", () => {
    let weight = engine.keep(tensor([[2, 2, 2]], { engine }));
    const recorded = compile((t: Tensor) => t.mul(weight));
    settle(recorded);
    weight.dispose();
    weight = engine.keep(tensor([[5, 5, 5]], { engine }));
    expect(Array.from(recorded(x).dataSync())).toEqual([5, 10, 15]);
    expect(recorded.reason).toBe("a tensor that it used is nobody's any more: it is recorded anew");
    expect(Array.from(recorded(x).dataSync())).toEqual([5, 10, 15]);
    expect(recorded.reason).toBeUndefined();
  });
});

test("a recorded function inside another is part of its recording", () => {
  const inner = compile((t: Tensor) => t.mul(2).cumsum(1));
  settle(inner);
  const outer = compile((t: Tensor) => inner(t.add(1)).sum());
  for (let call = 0; call < 4; call++) expect(engine.scope(() => outer(x).itemSync())).toBe(4 + 10 + 18);
  expect([outer.reason, inner.reason]).toEqual([undefined, "it is part of another recording"]);
  expect(outer.recordings[0]?.recorded).toBeGreaterThan(3);
});

test("a recording serves the engine that it was made on, and no other", () => {
  const recorded = compile((t: Tensor) => t.mul(2).cumsum(1));
  settle(recorded);
  const other = new Engine(new ReferenceBackend());
  for (let call = 0; call < 3; call++) {
    const y = other.scope(() => recorded(tensor([[1, 2, call]], { engine: other })));
    expect([y.engine, Array.from(y.dataSync())]).toEqual([other, [2, 6, 6 + 2 * call]]);
    y.dispose();
  }
  expect(recorded.reason).toBeUndefined();
  expect(recorded.recordings.length).toBe(2);
});

test("a recording that runs out of memory leaves nothing behind, and runs when there is room", () => {
  const own = new Engine(new CpuBackend());
  const y = own.keep(tensor(new Float32Array(1000), { engine: own }));
  const recorded = compile((t: Tensor) => t.cumsum(0).cumsum(0).sum(0));
  for (let call = 0; call < 3; call++) recorded(y).dispose();
  const before = own.memory().liveBytes;
  expect(() => own.withMemoryLimit(before + 5000, () => recorded(y))).toThrow("bytes more exceed");
  expect(own.memory().liveBytes).toBe(before);
  expect(recorded(y).itemSync()).toBe(0);
  expect(recorded.reason).toBeUndefined();
});

test("refuses what it cannot promise, in words", () => {
  const messages = [
    () => (compile as unknown as (f: () => Tensor) => () => Tensor)(() => x)(),
    () => compile((t: Tensor) => t.mul(2))(engine.keep(x.clone()).requireGrad()),
    () => {
      const f = compile((() => 3) as unknown as (t: Tensor) => Tensor);
      f(x);
      f(x);
    },
  ].map((f) => {
    try {
      f();
      return "nothing";
    } catch (error) {
      return (error as Error).message;
    }
  });
  expect(messages).toMatchInlineSnapshot(`
    [
      "compile: a recorded function takes one tensor or more, got nothing
      hint: pass what changes as tensors, and close over the rest",
      "compile: an argument is tracked, and the results of a recorded function are not
      hint: compute gradients inside the function (grad, valueAndGrad), or pass x.detach()",
      "compile: the function returns number, which would stay what it was at the first call
      hint: return tensors, alone or in arrays and plain objects",
    ]
  `);
});

test("what follows from tensors made outside alone is computed once, until one of them is written to", () => {
  const own = new Engine(new CpuBackend());
  const weight = own.keep(
    tensor(
      [
        [1, 2.3],
        [3, 4.7],
      ],
      { engine: own },
    ),
  );
  const f = (x: Tensor): Tensor => own.autocast("bf16", () => x.matmul(weight.transpose().exp()));
  const recorded = compile(f, { keepsConstants: true });
  const run = (g: (x: Tensor) => Tensor, n: number): unknown =>
    own.scope(() => bits(g(tensor([[n, 1.1]], { engine: own }))));
  for (let call = 0; call < 4; call++) expect(run(recorded, call)).toEqual(run(f, call));
  const [{ recorded: before, instructions } = { recorded: 0, instructions: 0 }] = recorded.recordings;
  // The argument's cast, and the product: the weight's exponential and its cast are kept.
  expect([before > instructions, instructions]).toEqual([true, 2]);
  own.scope(() => void weight.assign(weight.mul(0.5)));
  expect(run(recorded, 5)).toEqual(run(f, 5));
  expect(recorded.reason).toBe("a tensor that it keeps results of was written to: it is recorded anew");
  expect(run(recorded, 6)).toEqual(run(f, 6));
  expect(recorded.reason).toBeUndefined();
  recorded.dispose();
  weight.dispose();
  expect(own.memory().liveBytes).toBe(0);
});

test("what is only copied to a tensor made outside is written there, unless that is read in between or otherwise", () => {
  const run = (f: (held: Tensor, x: Tensor) => Tensor): readonly unknown[] => {
    const own = new Engine(new CpuBackend());
    const [held, expected] = [0, 1].map(() =>
      own.keep(
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { engine: own },
        ),
      ),
    ) as [Tensor, Tensor];
    const recorded = compile((x: Tensor) => f(held, x));
    for (let call = 0; call < 4; call++)
      own.scope(() => {
        const x = tensor(
          [
            [call, 2],
            [0.5, 1],
          ],
          { engine: own },
        );
        expect(bits(recorded(x))).toEqual(bits(f(expected, x)));
        expect(bits(held)).toEqual(bits(expected));
      });
    expect(recorded.reason).toBeUndefined();
    const { instructions } = recorded.recordings[0]!;
    recorded.dispose();
    return [instructions];
  };
  expect(run((held, x) => held.assign(held.mul(0.5).add(x)).sum())).toEqual([2]);
  // Read transposed, or before it is copied: it must be there still.
  expect(run((held, x) => held.assign(held.transpose().add(x)).sum())).toEqual([3]);
  expect(
    run((held, x) => {
      const next = held.mul(x);
      const before = held.sum();
      held.assign(next);
      return before.add(held.sum());
    }),
  ).toEqual([5]);
});

test("numbers of the host are made anew at every call, before its work", () => {
  const own = new Engine(new CpuBackend());
  let count = 0;
  const recorded = compile((x: Tensor) => x.mul(hostValues(() => [++count], { shape: [1], engine: own })));
  const results = Array.from({ length: 5 }, () =>
    own.scope(() => recorded(tensor([2], { engine: own })).dataSync()[0]),
  );
  expect(results).toEqual([2, 4, 6, 8, 10]);
  expect(recorded.reason).toBeUndefined();
  recorded.dispose();
  expect(own.memory().liveBytes).toBe(0);
});
