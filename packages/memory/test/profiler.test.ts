import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MLP } from "@revnet-zero/nn";
import { ReversibleSequence } from "@revnet-zero/reversible";
import { Engine, expectNoLeak, ones, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { checkWellFormed, errorText, rejectionText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type MemoryProfile, MemoryProfiler } from "../src/index.ts";
import { programOf, subjects } from "./programs.ts";

const backend = new CpuBackend();
const sizes = { batch: 2, sequence: 6, depth: 2 };

/** The profile of a subject's second step, and what the ledger says of it. */
function profiled(name: string, options = {}) {
  const engine = new Engine(backend);
  const step = programOf(subjects[name]!, sizes, options)(engine);
  engine.scope(step);
  engine.ledger.resetPeak();
  const profile = new MemoryProfiler({ engine }).profile(() => engine.scope(step));
  return { profile, memory: engine.memory() };
}
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** A sequence of MLP branches and a step of it. */
function sequenceStep(policies: readonly ("store" | "reconstruct")[]) {
  const engine = new Engine(backend);
  const key = randomKey(1);
  const branch = () => new MLP({ dim: 8, key, engine });
  const model = new ReversibleSequence({
    blocks: policies.map(() => ({ F: branch(), G: branch() })),
    plan: { blocks: policies },
    engine,
  });
  const step = (): void => {
    engine.scope(() => {
      const x = randomNormal([64, 8], { key, engine });
      const ys = model.call(x, x);
      ys[0]!.add(ys[1]!).sum().backward();
    });
  };
  return { engine, model, step };
}

describe("a profile", () => {
  test("has the ledger's peak and its categories, and its tables add up to it", () => {
    const cases = fc.record({
      name: fc.constantFrom(...Object.keys(subjects)),
      mode: fc.constantFrom("exact", "store", "checkpoint"),
      optimizer: fc.nat(3),
    } as const);
    fc.assert(
      fc.property(cases, ({ name, ...options }) => {
        const { profile, memory } = profiled(name, options);
        expect(profile.peakBytes).toBe(memory.peakBytes);
        expect(profile.atPeak).toEqual(memory.atPeak);
        expect(profile.activationBytes).toBe(memory.activationBytes);
        const older = sum(profile.largest(Number.POSITIVE_INFINITY).flatMap((t) => (t.isOlder ? [t.bytes] : [])));
        for (const table of [profile.byModule(), profile.byModule({ depth: 1 }), profile.byOp(), profile.byPhase()]) {
          expect(older + sum(table.map((u) => u.peakBytes))).toBe(memory.peakBytes);
          expect(sum(table.map((u) => u.ops))).toBe(profile.recording.ops.length);
        }
        const explained = profile.reasons.filter(({ what }) => !what.startsWith("blocks that the backend keeps"));
        expect(sum(explained.map((r) => r.bytes))).toBe(memory.peakBytes);
        expect(sum(profile.largest(Number.POSITIVE_INFINITY).map((t) => t.bytes))).toBe(memory.peakBytes);
        // No time is counted twice.
        expect(sum(profile.byOp().map((u) => u.timeMs))).toBeLessThanOrEqual(profile.timeMs);
        checkWellFormed(profile.toHtml({ budget: 1e6 }));
        checkWellFormed(profile.timelineSvg());
      }),
      runs(12),
    );
  });

  test("tells forward, backward, what is computed again, and the update apart", () => {
    const phasesOf = (mode: string): string[] =>
      profiled("reversible transformer", { mode })
        .profile.byPhase()
        .map(({ name }) => name);
    expect(phasesOf("exact")).toEqual(["forward", "backward", "recompute", "update"]);
    expect(phasesOf("store")).toEqual(["forward", "backward", "update"]);
    const { profile } = profiled("reversible transformer", { mode: "store" });
    const { changes, ops } = profile.recording;
    const runsOf = (phases: readonly string[]): string[] => phases.filter((p, i) => p !== phases[i - 1]);
    expect(runsOf(changes.map(({ phase }) => phase))).toEqual(["forward", "backward", "update"]);
    expect(runsOf(ops.map(({ phase }) => phase))).toEqual(["forward", "backward", "update"]);
  });

  test("gives gradients to the modules whose they are", () => {
    const { profile } = profiled("reversible transformer", { mode: "store" });
    const backward = profile.recording.ops.filter(({ phase }) => phase === "backward");
    const modules = new Set(backward.map(({ module }) => module));
    for (const module of ["sequence.blocks.1.G.mlp", "sequence.blocks.0.F.attention.out", "head.norm"])
      expect(modules).toContain(`ReversibleTransformer.${module}`);
    // Code that runs again runs under the same names.
    const again = profiled("reversible transformer", { mode: "exact" }).profile.recording;
    const of = (phase: string) => new Set(again.ops.filter((op) => op.phase === phase).map(({ module }) => module));
    // Norms may be computed with the sum before them, which the inverse does too; an MLP's layers are one op where gradients come back.
    const branches = [...of("forward")]
      .filter((module) => /\.blocks\..*\.(attention|mlp)/.test(module))
      .map((module) => module.replace(/\.mlp\.(up|down)$/, ".mlp"));
    expect(branches.length).toBeGreaterThan(5);
    expect([...of("recompute")].filter((module) => module.includes(".blocks."))).toEqual(
      expect.arrayContaining(branches),
    );
  });

  test("counts the parts of a decomposition once, and the whole without them", () => {
    const engine = new Engine(backend);
    const profile = new MemoryProfiler({ engine }).profile(() => {
      const start = performance.now();
      engine.trace.run({ op: "whole", module: "", inputs: [], outputs: [] }, () => {
        for (const op of ["part", "part"])
          engine.trace.run({ op, module: "", inputs: [], outputs: [] }, () => {
            const until = performance.now() + 2;
            while (performance.now() < until);
          });
      });
      return performance.now() - start;
    });
    const [whole, part] = ["whole", "part"].map((op) => profile.byOp().find(({ name }) => name === op)!);
    expect(part).toMatchObject({ ops: 2 });
    expect(part!.timeMs).toBeGreaterThanOrEqual(4);
    const { timeMs } = profile.recording.ops.find(({ op }) => op === "whole")!;
    expect(whole!.timeMs + part!.timeMs).toBeCloseTo(timeMs, 6);
  });

  test("names the tensors of its model, and the place where a tensor was made", () => {
    const { engine, model, step } = sequenceStep(["reconstruct"]);
    const profile = new MemoryProfiler({ model, callSites: true }).profile(step);
    const names = profile.largest(100).flatMap(({ name }) => (name === undefined ? [] : [name]));
    expect(names).toEqual(expect.arrayContaining(["blocks.0.F.up.weight", "blocks.0.G.down.bias"]));
    const made = profile.recording.buffers.find(({ op, module }) => op === "add" && module === "");
    expect(engine.memory().liveBytes).toBeGreaterThan(0);
    expect(made!.callSite).toContain("profiler.test.ts");
    expect(new MemoryProfiler({ model }).profile(step).recording.buffers.every((b) => b.callSite === undefined)).toBe(
      true,
    );
  });

  test("as a trace has slices inside each other, counters and the peak", () => {
    const { profile } = profiled("reversible transformer");
    const { traceEvents } = JSON.parse(profile.toChromeTrace()) as { traceEvents: TraceEvent[] };
    const slices = traceEvents.filter(({ ph }) => ph === "X").sort((a, b) => a.ts! - b.ts! || b.dur! - a.dur!);
    expect(slices.filter(({ cat }) => cat === "op")).toHaveLength(profile.recording.ops.length);
    const open: TraceEvent[] = [];
    for (const slice of slices) {
      while (open.length > 0 && open.at(-1)!.ts! + open.at(-1)!.dur! <= slice.ts! + 1e-6) open.pop();
      const around = open.at(-1);
      if (around !== undefined) expect(slice.ts! + slice.dur!).toBeLessThanOrEqual(around.ts! + around.dur! + 1e-6);
      open.push(slice);
    }
    const counters = traceEvents.filter(({ ph }) => ph === "C");
    expect(Math.max(...counters.map(({ args }) => sum(Object.values(args!))))).toBe(profile.peakBytes);
    expect(traceEvents.filter(({ ph }) => ph === "i")).toHaveLength(1);
  });
});

interface TraceEvent {
  readonly ph: string;
  readonly cat?: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Record<string, number>;
}

describe("why memory did not go down", () => {
  const isIdle = (what: string): boolean => what.startsWith("blocks that the backend keeps");
  const whats = ({ reasons }: MemoryProfile): string[] => reasons.flatMap(({ what }) => (isIdle(what) ? [] : [what]));

  test("names stored blocks, what is not reversible, gradients, and what the program kept", () => {
    const { model, step } = sequenceStep(["store", "store", "store", "reconstruct"]);
    expect(whats(new MemoryProfiler({ model }).profile(step))[0]).toBe(
      'stored activations of blocks with policy "store" in ReversibleSequence',
    );
    const engine = new Engine(backend);
    const mlp = new MLP({ dim: 64, key: randomKey(1), engine });
    const backward = (): void =>
      engine.scope(() =>
        mlp
          .call(ones([256, 64], { engine }))
          .sum()
          .backward(),
      );
    // Twice: the layers' gradients come together, after the peak of the first.
    const plain = new MemoryProfiler({ model: mlp }).profile(() => {
      backward();
      backward();
    });
    expect(whats(plain).some((what) => what === "stored activations in MLP, which is not reversible")).toBe(true);
    expect(whats(plain)).toContain("gradients that nobody has freed yet");
    const held: Tensor[] = [];
    const keeping = new MemoryProfiler({ engine }).profile(() => {
      held.push(engine.inModule("mine", () => ones([1000], { engine }).exp()));
    });
    expect(whats(keeping)).toContain('tensors that outlive the step, made by "exp" in mine');
    const later = new MemoryProfiler({ engine }).profile(() => {});
    expect(later.reasons.find(({ what }) => what.startsWith("tensors from before"))!.bytes).toBeGreaterThanOrEqual(
      4000,
    );
    for (const t of held) t.dispose();
  });

  test("names blocks that a backend keeps for reuse", () => {
    const engine = new Engine(backend);
    engine.scope(() => void ones([4 * 2 ** 20], { engine }));
    const profile = new MemoryProfiler({ engine }).profile(() => {});
    expect(profile.reasons[0]!.what).toMatch(
      /^blocks that the backend keeps for reuse: it has taken .* from the system$/,
    );
  });
});

describe("the profiler", () => {
  test("leaves nothing behind, keeps nothing alive, and changes no bit", () => {
    const { engine, model, step } = sequenceStep(["reconstruct", "store"]);
    const gradients = (): unknown => {
      step();
      const found = model.parameters().map((p) => p.grad!.dataSync().slice());
      model.zeroGrad();
      return found;
    };
    const plain = gradients();
    expectNoLeak(engine, () => {
      let observed: unknown;
      new MemoryProfiler({ model, callSites: true }).profile(() => {
        observed = gradients();
      });
      expect(observed).toEqual(plain);
    });
    expect(engine.trace.isOn).toBe(false);
    expect(engine.ledger.isWatched).toBe(false);
  });

  test("stops when the step fails, and waits for one that is asynchronous", async () => {
    const engine = new Engine(backend);
    const profiler = new MemoryProfiler({ engine });
    expect(errorText(() => profiler.profile(() => fail()))).toBe("Error: the step failed");
    expect(profiler.isRunning).toBe(false);
    expect(await rejectionText(profiler.profile(async () => fail()))).toBe("Error: the step failed");
    expect(engine.trace.isOn).toBe(false);
    const profile = await profiler.profile(async () => {
      const scope = engine.openScope();
      const x = ones([1000], { engine });
      await x.data();
      x.exp();
      scope.close();
    });
    expect(profile.peakBytes).toBe(8000);
    {
      using other = new MemoryProfiler({ engine });
      other.start();
      expect(errorText(() => other.start())).toMatchInlineSnapshot(`
        "ValueError: MemoryProfiler: it is running already
          hint: call stop() first"
      `);
    }
    expect(engine.trace.isOn).toBe(false);
    expect(errorText(() => profiler.stop())).toMatchInlineSnapshot(`
      "ValueError: MemoryProfiler: it is not running
        hint: call start() first"
    `);
  });

  test("says it in text", () => {
    const { profile } = profiled("reversible transformer");
    const text = String(profile);
    for (const part of ["why memory did not go down", "module", "largest tensors at the peak", "ReversibleTransformer"])
      expect(text).toContain(part);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThan(180);
  });
});

function fail(): never {
  throw new Error("the step failed");
}
