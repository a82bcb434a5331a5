import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type DType, Engine, type EngineOptions, OutOfMemoryError, type Tensor, zeros } from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";

// Copies of parameters in fewer bits, which autocast keeps: no value may show that they are there.

/** A leaf as modules make them. */
function parameter(engine: Engine, seed: number, shape: readonly number[] = [3, 4]): Tensor {
  const t = engine.keep(random(engine, seed, shape)).requireGrad();
  t.storage.category = "parameters";
  return t;
}

/** Casts that the engine runs inside `f`. */
function castsIn(engine: Engine, f: () => void): number {
  let casts = 0;
  const stop = engine.trace.listen(({ op }) => {
    if (op === "cast") casts++;
  });
  f();
  stop();
  return casts;
}

const lows = ["bf16", "f16"] as const;
type Action =
  | { readonly kind: "use"; readonly low: (typeof lows)[number]; readonly of: number; readonly isView: boolean }
  | { readonly kind: "write"; readonly of: number; readonly seed: number }
  | { readonly kind: "backward" | "drop" };

const low = fc.constantFrom(...lows);
const of = fc.nat({ max: 1 });
const actions = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant("use" as const), low, of, isView: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("write" as const), of, seed: fc.nat({ max: 99 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("backward" as const, "drop" as const) }) },
  ),
  { minLength: 1, maxLength: 14 },
);

/** What a program of forward passes, writes in between, and backward passes long after gives. */
function run(program: readonly Action[], options: EngineOptions): number[][] {
  const engine = newEngine(options);
  const weights = [parameter(engine, 1), parameter(engine, 2)];
  const x = engine.keep(random(engine, 3, [2, 4]));
  const seen: number[][] = [];
  let losses: Tensor[] = [];
  const drop = (): void => {
    for (const t of losses) t.dispose();
    losses = [];
  };
  for (const action of program) {
    if (action.kind === "use") {
      const weight = weights[action.of]!;
      const y = engine.scope(() =>
        engine.autocast(action.low, () => {
          // A view that is not the whole parameter as it lies is cast by itself.
          const w = action.isView ? weight.narrow(0, 0, 2) : weight;
          return x.linear(w).square().sum();
        }),
      );
      seen.push([...y.dataSync()]);
      losses.push(engine.keep(y));
    } else if (action.kind === "write") {
      const weight = weights[action.of]!;
      engine.scope(() => void engine.noGrad(() => weight.assign(random(engine, action.seed, [3, 4]))));
    } else {
      if (action.kind === "backward") for (const t of losses) t.backward();
      drop();
    }
  }
  drop();
  for (const w of weights) {
    seen.push([...(w.grad?.dataSync() ?? [])]);
    w.dispose();
  }
  x.dispose();
  expect(engine.memory().liveBytes).toBe(0);
  return seen;
}

test("forward and backward passes with copies kept have the bits of those without, whatever is written in between", () => {
  fc.assert(
    fc.property(actions, (program) => {
      expect(run(program, {})).toEqual(run(program, { keepsCastCopies: false }));
    }),
    runs(150),
  );
});

test("a parameter is cast once for each type, and again after it was written", () => {
  const engine = newEngine();
  const w = parameter(engine, 1);
  const use = (dtype: DType): void => engine.scope(() => void engine.autocast(dtype, () => w.linear(w)));
  expect(castsIn(engine, () => use("bf16"))).toBe(1);
  expect(castsIn(engine, () => use("bf16"))).toBe(0);
  expect(castsIn(engine, () => use("f16"))).toBe(1);
  engine.scope(() => void engine.noGrad(() => w.assign(w.mul(2))));
  expect(castsIn(engine, () => use("bf16"))).toBe(1);
  expect(castsIn(engine, () => use("bf16"))).toBe(0);
  // Two bytes an element for each type, counted as parameters, and gone with the parameter.
  expect(engine.memory().live.parameters).toBe(12 * 4 + 2 * 12 * 2);
  w.dispose();
  expect(engine.memory().liveBytes).toBe(0);
});

test("what is no parameter, and an engine that is told so, keeps no copies", () => {
  for (const engine of [newEngine(), newEngine({ keepsCastCopies: false })]) {
    const w = engine.keep(random(engine, 1, [3, 4]));
    if (!engine.keepsCastCopies) w.storage.category = "parameters";
    const use = (): void => void engine.scope(() => engine.autocast("bf16", () => void w.linear(w)));
    expect([castsIn(engine, use), castsIn(engine, use)]).toEqual([2, 2]);
    expect(engine.memory().liveBytes).toBe(48);
  }
});

test("a rehearsal makes the copies that will be there, shows the pass that finds them, and leaves one that is stale as it is", () => {
  const backend = new CpuBackend();
  const engine = new Engine(backend);
  const w = parameter(engine, 1);
  const use = (): Tensor => engine.autocast("bf16", () => w.linear(w)).detach();
  const rehearse = (): void => engine.rehearse(MetaBackend.like(backend), () => void use());
  const seen: number[] = [];
  const stop = engine.ledger.watch({
    allocated: (s) => void (s.category === "workspace" && seen.push(s.bytes)),
    moved: () => {},
    freed: () => {},
  });
  rehearse();
  expect(engine.memory().live.parameters).toBe(48 + 24);
  expect(castsIn(engine, rehearse)).toBe(0);
  // The first rehearsal's copy, the copy, and then results alone.
  expect(seen).toEqual([24, 18, 24, 18, 18]);
  stop();
  const values = (): number[] => engine.scope(() => [...use().dataSync()]);
  values();
  engine.scope(() => void engine.noGrad(() => w.assign(random(engine, 2, [3, 4]))));
  rehearse();
  const expected = engine.scope(() => {
    const low = w.cast("bf16");
    return [...low.linear(low).dataSync()];
  });
  expect(values()).toEqual(expected);
});

test("where memory runs short copies go before anything is refused, and are made again", () => {
  const engine = newEngine({ memoryLimitBytes: 48 + 24 + 100 });
  const w = engine.keep(zeros([3, 4], { engine }));
  w.storage.category = "parameters";
  const use = (): void => engine.scope(() => void engine.autocast("bf16", () => w.linear(w)));
  use();
  expect(engine.memory().liveBytes).toBe(48 + 24);
  zeros([30], { engine }).dispose();
  expect(engine.memory().liveBytes).toBe(48);
  expect(castsIn(engine, use)).toBe(1);
  expect(() => zeros([32], { engine })).toThrow(OutOfMemoryError);
});
