// A run is stopped in the middle and resumed from its checkpoint: weights, optimizer and losses are those of a run that was not.
// Nothing random is saved but the seed: batches and dropout masks are functions of the step.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CheckpointStore, defaultConfig, defaultEngine, loadText, type TrainConfig, Trainer } from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const engine = defaultEngine();
const { bytes: text } = await loadText("moby-dick");
const steps = isAssert ? 20 : 200;
const config: TrainConfig = {
  ...defaultConfig,
  model: { ...defaultConfig.model, numLayers: 4, dModel: 64, maxSeqLen: 64, dropout: 0.1 },
  train: {
    ...defaultConfig.train,
    steps,
    batchSize: 4,
    sequenceLength: 64,
    evalEvery: 0,
    checkpointEvery: 0,
    sampleEvery: 0,
  },
  schedule: { ...defaultConfig.schedule, warmupSteps: 5 },
};

/** All weights and the optimizer's state as raw words, and the losses of all steps. */
async function stateOf(trainer: Trainer): Promise<Map<string, ArrayBuffer>> {
  const words = new Map<string, ArrayBuffer>();
  const { tensors } = trainer.optimizer.stateDict();
  for (const [kind, all] of Object.entries({ model: trainer.model.stateDict(), optimizer: tensors }))
    for (const [name, t] of all) words.set(`${kind}: ${name}`, (await t.data()).slice().buffer as ArrayBuffer);
  words.set("losses", Float64Array.from(trainer.history.train.map(([, loss]) => loss)).buffer);
  return words;
}

// -- the run that is not disturbed ---------------------------------------------------------------------------------------
const whole = new Trainer({ config, engine, text });
await whole.run();
const expected = await stateOf(whole);
console.log(`undisturbed: ${whole.step} steps, loss ${whole.history.train.at(-1)![1].toFixed(4)}`);
whole.dispose();

// -- the one that is -------------------------------------------------------------------------------------------------------
const folder = mkdtempSync(join(tmpdir(), "revnet-resume-"));
const store = await CheckpointStore.open(join(folder, "checkpoints"));
const first = new Trainer({ config, engine, text, store });
const stop = new AbortController(); // what Ctrl+C does to `revnet-zero train`
first.on("step", ({ step }) => void (step === Math.floor(steps / 3) && stop.abort()));
const { step: stoppedAt, checkpoint } = await first.run({ signal: stop.signal });
first.dispose();
console.log(`stopped after ${stoppedAt} steps; saved ${checkpoint?.path.slice(folder.length + 1)}`);

const second = new Trainer({ config, engine, text, store, resume: (await store.load("latest"))! });
console.log(`resumed at step ${second.step}`);
await second.run();
const found = await stateOf(second);
console.log(`resumed: ${second.step} steps, loss ${second.history.train.at(-1)![1].toFixed(4)}`);
second.dispose();
rmSync(folder, { recursive: true });

const differing = [...expected].filter(([name, words]) => {
  const [a, b] = [new Uint8Array(words), new Uint8Array(found.get(name) ?? new ArrayBuffer(0))];
  return a.length !== b.length || a.some((byte, i) => byte !== b[i]);
});
const numbers = [...expected.values()].reduce((sum, words) => sum + words.byteLength, 0);
console.log(`${numbers} bytes of state compared, ${differing.length} of ${expected.size} tensors differ`);

claim({
  "the run was stopped in the middle": stoppedAt > 0 && stoppedAt < steps,
  "the resumed run ends with the same bits": differing.length === 0 && found.size === expected.size,
});
