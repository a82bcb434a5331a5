import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { AdamW } from "@revnet-zero/optim";
import { type ReversibleSequence, updateInBackward } from "@revnet-zero/reversible";
import { Engine, tensor } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { IntelligentMemoryScheduler, ModelPlanner, strategyNames } from "../../src/index.ts";
import { bitsOf, languageModel, newEngine, type Subject, subjects } from "./models.ts";

const folder = mkdtempSync(join(tmpdir(), "revnet-scheduler-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Readings of a clock that depend on their number alone. */
function madeUpClock(): () => number {
  let [now, n] = [0, 0];
  return () => {
    now += 1 + ((n * 7919) % 13);
    n++;
    return now;
  };
}

/** A budget between what the model needs at least and at most. */
function budgetOf({ model, engine, pass }: Subject, share: number): number {
  const planner = new ModelPlanner(model, pass);
  const [least, most] = [planner.least.peakBytes, planner.most.peakBytes];
  return Math.floor(engine.ledger.liveBytes + least + share * (most - least));
}

describe.each(strategyNames)("strategy %s", (strategy) => {
  const made = strategy === "ml-adaptive" ? subjects : subjects.slice(0, 1);
  test.each(made.map((make) => make()))(
    "$name: every step is within the budget, with the same gradient bits",
    (subject) => {
      const { model, engine, pass } = subject;
      const expected = bitsOf(subject, () => engine.scope(pass));
      const budget = budgetOf(subject, 0.4);
      const before = engine.ledger.liveBytes;
      using scheduler = new IntelligentMemoryScheduler(model, { strategy, budget, file: false, clock: madeUpClock() });
      for (let i = 0; i < 4; i++) {
        engine.ledger.resetPeak();
        expect(bitsOf(subject, () => scheduler.step(pass))).toBe(expected);
        expect(engine.memory().peakBytes).toBeLessThanOrEqual(budget);
        expect(scheduler.lastStep!.peakBytes).toBe(engine.memory().peakBytes);
        expect(engine.ledger.liveBytes).toBe(before);
      }
    },
  );
});

test("a strategy that may use more takes no more time by its own account", () => {
  const subject = languageModel();
  const budget = budgetOf(subject, 0.5);
  const times = (["conservative", "balanced", "aggressive"] as const).map((strategy) => {
    using scheduler = new IntelligentMemoryScheduler(subject.model, { strategy, budget });
    bitsOf(subject, () => scheduler.step(subject.pass));
    return scheduler.plan!.timeMs;
  });
  expect(times).toEqual([...times].sort((a, b) => b - a));
  expect(new Set(times).size).toBe(3);
});

test("the same readings of the clock give the same plans", () => {
  const plansOf = (): string[] => {
    const subject = languageModel();
    using scheduler = new IntelligentMemoryScheduler(subject.model, {
      budget: budgetOf(subject, 0.5),
      file: false,
      clock: madeUpClock(),
    });
    return Array.from({ length: 5 }, () => {
      bitsOf(subject, () => scheduler.step(subject.pass));
      return scheduler.plan!.policies.join();
    });
  };
  expect(plansOf()).toEqual(plansOf());
});

test("optimizer state that comes after the first step makes the plan smaller", () => {
  const subject = languageModel();
  const { model, engine, pass } = subject;
  const state = 2 * model.parameters().reduce((sum, p) => sum + p.bytes, 0);
  const budget = budgetOf(subject, 0) + state + 20_000;
  using scheduler = new IntelligentMemoryScheduler(model, { strategy: "aggressive", budget });
  const optimizer = new AdamW(model.parameters());
  const peaks = [0, 1].map(() => {
    engine.scope(() => void scheduler.step(pass));
    optimizer.step();
    optimizer.zeroGrad();
    return scheduler.plan!.peakBytes;
  });
  expect(peaks[1]).toBeLessThan(peaks[0]!);
  expect(scheduler.lastStep!.peakBytes).toBeLessThanOrEqual(budget);
});

test("micro-batches add up their gradients, each pass within the budget", () => {
  const subject = languageModel();
  const { model, engine, pass } = subject;
  const twice = (run: () => void) => () => {
    run();
    return engine.scope(pass);
  };
  const expected = bitsOf(
    subject,
    twice(() => engine.scope(pass).dispose()),
  );
  const budget = budgetOf(subject, 0.5) + model.parameters().reduce((sum, p) => sum + p.bytes, 0);
  using scheduler = new IntelligentMemoryScheduler(model, { budget, file: false, clock: madeUpClock() });
  const found = bitsOf(subject, () => {
    scheduler.step(pass).dispose();
    return scheduler.step(pass);
  });
  expect(found).toBe(expected);
  expect(scheduler.lastStep!.peakBytes).toBeLessThanOrEqual(budget);
});

test("a longer sequence than planned for runs out of memory, and is done again under a smaller plan, with a message", () => {
  const engine = newEngine();
  const short = languageModel(engine);
  const tokens = tensor(
    Int32Array.from({ length: 64 }, (_, i) => (5 * i) % 32),
    { shape: [2, 32], engine },
  );
  const model = short.model as ReturnType<typeof languageModel>["model"] & {
    loss(a: unknown, b: unknown): ReturnType<Subject["pass"]>;
  };
  const long: Subject = {
    ...short,
    pass: () => {
      const loss = model.loss(tokens, tokens);
      loss.backward();
      return loss.detach();
    },
  };
  const expected = bitsOf(long, () => engine.scope(long.pass));
  const budget = budgetOf(long, 0.2);
  const messages: string[] = [];
  using scheduler = new IntelligentMemoryScheduler(model, {
    strategy: "aggressive",
    budget,
    onMessage: (m) => messages.push(m),
  });
  bitsOf(short, () => scheduler.step(short.pass));
  expect(bitsOf(long, () => scheduler.step(long.pass))).toBe(expected);
  expect(messages).toHaveLength(1);
  expect(messages[0]).toContain("the pass is done again under a plan with a peak of");
  expect(scheduler.lastStep!.peakBytes).toBeLessThanOrEqual(budget);
});

test("a device that has less than the budget gets the smallest plan; where that fails too, the error is the device's", () => {
  const backend = new CpuBackend();
  const limited = (memoryLimitBytes: number) => languageModel(new Engine(backend, { memoryLimitBytes }));
  const needed = budgetOf(languageModel(), 0);
  const messages: string[] = [];
  const step = (subject: Subject): string => {
    using scheduler = new IntelligentMemoryScheduler(subject.model, {
      strategy: "aggressive",
      onMessage: (m) => messages.push(m),
    });
    return bitsOf(subject, () => scheduler.step(subject.pass));
  };
  const subject = languageModel();
  expect(step(limited(needed))).toBe(bitsOf(subject, () => subject.engine.scope(subject.pass)));
  expect(messages).toHaveLength(1);
  const small = limited(needed - 1);
  const before = small.engine.ledger.liveBytes;
  expect(errorText(() => step(small))).toContain("OutOfMemoryError: allocate");
  expect(small.engine.ledger.liveBytes).toBe(before);
});

test("a budget that nothing fits into is an error, and the model has its plans back", () => {
  const { model, pass } = languageModel();
  {
    using scheduler = new IntelligentMemoryScheduler(model, { budget: "10KB", file: false });
    expect(errorText(() => scheduler.step(pass))).toMatch(
      /^OutOfMemoryError: scheduler: no plan fits into 9.77 KiB: the least peak/,
    );
  }
  expect(
    (model as ReturnType<typeof languageModel>["model"] & { sequence: { plan: unknown } }).sequence.plan,
  ).toBeUndefined();
});

test("a backward pass that updates parameters is refused before it is run", () => {
  const { model, pass } = languageModel();
  const { sequence } = model as unknown as { sequence: ReversibleSequence };
  updateInBackward(sequence, new AdamW(model.parameters()));
  expect(errorText(() => new IntelligentMemoryScheduler(model, { file: false }))).toContain(
    "updates its parameters (updateInBackward)",
  );
  expect(errorText(() => new ModelPlanner(model, pass))).toContain("updates its parameters");
});

test("options out of range are errors", () => {
  const { model, pass } = languageModel();
  const make = (options: object) => errorText(() => new IntelligentMemoryScheduler(model, options));
  expect(make({ budget: "a lot" })).toContain('the budget is "a lot"');
  expect(make({ budget: -1 })).toContain("the budget is -1");
  expect(errorText(() => new ModelPlanner(model, pass, { policies: ["anchor"] }))).toContain(
    "can have none of the policies anchor",
  );
  expect(make({ strategy: "greedy" })).toContain('unknown strategy "greedy"');
});

test("what was learned is there in the next run, and a file that cannot be read is learned anew", () => {
  const file = join(folder, "times.json");
  const run = (steps: number): number => {
    const subject = languageModel();
    using scheduler = new IntelligentMemoryScheduler(subject.model, {
      budget: budgetOf(subject, 0.5),
      file,
      clock: madeUpClock(),
    });
    for (let i = 0; i < steps; i++) bitsOf(subject, () => scheduler.step(subject.pass));
    return scheduler.plan!.timeMs;
  };
  const first = run(1);
  expect(readdirSync(folder)).toEqual(["times.json"]);
  // The first plan of a run is made from the prior alone, or from what runs before it learned.
  run(3);
  expect(run(1)).not.toBe(first);
  writeFileSync(file, '{"version":1,"parameters":[[');
  expect(run(1)).toBe(first);
  writeFileSync(file, '{"version":1,"features":3,"isTrained":true,"parameters":[[1]]}');
  expect(run(1)).toBe(first);
});
