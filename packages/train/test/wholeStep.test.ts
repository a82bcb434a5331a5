import { describe, expect, test } from "vitest";
import type { TrainConfig } from "../src/config.ts";
import type { StepEvent } from "../src/events.ts";
import { type Changes, smallTrainer, stateOf, temporaryStore } from "./smallRun.ts";

// Steps recorded as wholes (`train.graph`), here on a backend without graphs: what a device takes down is this recording.

const withGraph = (changes: Changes, graph: boolean): Changes => ({ ...changes, train: { ...changes.train, graph } });

/** What must be equal for two runs to be one, and what they told. */
async function run(changes: Changes, graph: boolean, prepare: (trainer: ReturnType<typeof smallTrainer>) => void) {
  const trainer = smallTrainer(withGraph(changes, graph));
  prepare(trainer);
  const events: Partial<StepEvent>[] = [];
  trainer.on("step", ({ timeMs: _, tokensPerSecond: __, peakBytes: ___, ...rest }) => events.push(rest));
  await trainer.run();
  const state = await stateOf(trainer);
  const { whyNoGraph, scaler } = trainer;
  trainer.dispose();
  expect(trainer.engine.memory().liveBytes).toBe(0);
  return { whyNoGraph, told: { state, events, scaler: scaler?.stateDict() } };
}

async function expectSameRun(changes: Changes, prepare: Parameters<typeof run>[2] = () => {}) {
  const [plain, whole] = [await run(changes, false, prepare), await run(changes, true, prepare)];
  expect(whole.told).toEqual(plain.told);
  expect([plain.whyNoGraph, whole.whyNoGraph]).toEqual([undefined, "the cpu backend has no graphs"]);
  return whole.told;
}

const optimizers: readonly Partial<TrainConfig["optimizer"]>[] = [
  { name: "adamw" },
  { name: "adamw", clipNorm: 0 },
  { name: "lion", learningRate: 0.001 },
  { name: "adafactor" },
  { name: "sgd", learningRate: 0.1 },
  { name: "sgd", learningRate: 0.1, momentum: 0.9, nesterov: true },
];

describe("a run of recorded whole steps is the run, bit for bit", () => {
  test.for(optimizers)("with %j, dropout and two micro-batches", async (optimizer) => {
    await expectSameRun({ optimizer, model: { dropout: 0.1 }, train: { microBatches: 2 } });
  });

  test("in float16, whose overflowing steps are left out on the device and not counted", async () => {
    const { scaler } = await expectSameRun({ train: { precision: "f16", steps: 16 } }, (trainer) =>
      trainer.scaler!.loadStateDict({ scale: 2 ** 28, goodSteps: 0, skippedSteps: 0 }),
    );
    expect(scaler!.skippedSteps).toBeGreaterThan(3);
  });

  test.for([
    [true, false],
    [false, true],
    [true, true],
  ])("stopped and resumed, as whole steps before (%s) and after (%s)", async ([before, after]) => {
    const changes: Changes = { model: { dropout: 0.1 } };
    const store = await temporaryStore();
    const first = smallTrainer(withGraph({ ...changes, train: { checkpointEvery: 3 } }, before!), { store });
    await first.run();
    const resume = await store.load(3);
    const rest = smallTrainer(withGraph(changes, after!), { resume });
    const warnings: string[] = [];
    rest.on("warning", ({ message }) => warnings.push(message));
    await rest.run();
    expect(await stateOf(rest)).toEqual(await stateOf(first));
    expect(warnings).toEqual([]);
  });
});

test.for([0, 1])(
  "a whole step whose gradients are no numbers is stopped at, and not taken (clipNorm %d)",
  async (clipNorm) => {
    const failure = async (graph: boolean) => {
      const store = await temporaryStore();
      const changes: Changes = { optimizer: { clipNorm }, train: { checkpointEvery: 3 } };
      const trainer = smallTrainer(withGraph(changes, graph), { store });
      trainer.on("checkpoint", ({ step }) => {
        if (step !== 3) return;
        const { engine, model } = trainer;
        const weight = model.namedParameters().get("sequence.blocks.1.F.attention.qkv.weight")!;
        engine.scope(() => engine.noGrad(() => weight.assign(weight.mul(1e30))));
      });
      const error = await trainer.run().catch((thrown: unknown) => thrown as Error);
      const text = (error as Error).message.replaceAll(store.dir, "<store>");
      return { text, state: await stateOf(trainer) };
    };
    const [plain, whole] = [await failure(false), await failure(true)];
    expect(plain.text).toContain("the gradient norm is NaN");
    expect(whole).toEqual(plain);
  },
);

test("passes that a memory scheduler runs are no whole steps, and the trainer says so", async () => {
  const trainer = smallTrainer(withGraph({}, true));
  trainer.schedulePasses((pass) => pass());
  await trainer.run();
  expect(trainer.whyNoGraph).toBe("a memory scheduler runs the passes");
  trainer.dispose();
});
