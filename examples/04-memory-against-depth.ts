// Memory against depth: the bytes of a training step at growing depth, stored, checkpointed and rebuilt; and a plan between.
// The ledger counts every buffer, and the backend without values predicts the same number before anything is run.
import {
  type BlockPolicy,
  defaultEngine,
  Engine,
  formatBytes,
  MetaBackend,
  type ReversibleMode,
  ReversibleTransformer,
  randomKey,
  tensor,
} from "revnet-zero";
import { claim, isAssert } from "./claims.ts";

const [batch, time] = [8, 64];
const words = Int32Array.from({ length: batch * time }, (_, i) => (i * 7919) % 256);

interface Step {
  readonly depth: number;
  readonly mode: ReversibleMode;
  readonly plan?: readonly BlockPolicy[];
}

/** Activation bytes of one step, forward and backward: the peak less parameters and their gradients. */
function activationBytes({ depth, mode, plan }: Step, engine: Engine): number {
  const model = new ReversibleTransformer({
    numLayers: depth,
    dModel: 64,
    numHeads: 4,
    maxSeqLen: time,
    reversibility: mode,
    key: randomKey(1),
    engine,
  });
  if (plan !== undefined) model.sequence.plan = { blocks: plan };
  engine.ledger.resetPeak();
  engine.scope(() => {
    const tokens = tensor(words, { shape: [batch, time], engine });
    model.loss(tokens, tokens).backward();
  });
  const bytes = engine.memory().activationBytes;
  model.dispose();
  return bytes;
}
const { backend } = defaultEngine();
const measured = (step: Step): number => activationBytes(step, new Engine(backend));
const predicted = (step: Step): number => activationBytes(step, new Engine(MetaBackend.like(backend)));

// -- the table ----------------------------------------------------------------------------------------------------------
const depths = isAssert ? [2, 4, 8, 16] : [2, 4, 8, 16, 32, 64];
const modes = ["store", "checkpoint", "exact"] as const;
console.log(["layers", ...modes].map((head) => head.padStart(12)).join(""));
const table = depths.map((depth) => {
  const bytes = modes.map((mode) => measured({ depth, mode }));
  console.log([String(depth), ...bytes.map(formatBytes)].map((cell) => cell.padStart(12)).join(""));
  return { depth, bytes };
});
const column = (mode: (typeof modes)[number]): number[] => table.map(({ bytes }) => bytes[modes.indexOf(mode)]!);

// -- a plan: some blocks stored, the others rebuilt ------------------------------------------------------------------------
// What is kept is a choice block by block, of bytes against time; in exact modes the results are the same bits whatever it is.
const depth = depths.at(-1)!;
console.log(`\n${depth} layers, of which the last so many keep their activations:`);
const plans = [0, depth / 4, depth / 2, depth].map((stored) => {
  const plan = Array.from({ length: depth }, (_, i): BlockPolicy => (i < depth - stored ? "reconstruct" : "store"));
  const bytes = measured({ depth, mode: "exact", plan });
  console.log(`  ${String(stored).padStart(3)}: ${formatBytes(bytes)}`);
  return { plan, bytes };
});

// -- before anything is run ----------------------------------------------------------------------------------------------
// MetaBackend knows shapes and no values: the same program, the same ledger, in milliseconds, for models no machine here holds.
const [large, small] = ["store", "exact"].map((mode) => predicted({ depth: 400, mode: mode as ReversibleMode }));
console.log(`\n400 layers, predicted: ${formatBytes(large!)} stored, ${formatBytes(small!)} rebuilt`);

const steps = column("store").map((bytes, i, all) =>
  i === 0 ? 0 : (bytes - all[i - 1]!) / (depths[i]! - depths[i - 1]!),
);
claim({
  "rebuilt activations take the same bytes at every depth": new Set(column("exact")).size === 1,
  "stored ones grow by the same bytes with every layer": new Set(steps.slice(1)).size === 1,
  "checkpoints lie between": column("checkpoint").at(-1)! < column("store").at(-1)!,
  "a plan costs more the more it stores": plans.every(({ bytes }, i) => i === 0 || bytes > plans[i - 1]!.bytes),
  "predictions are right to the byte": plans.every(
    ({ plan, bytes }) => predicted({ depth, mode: "exact", plan }) === bytes,
  ),
  "400 layers would fit": small! < 4 * column("exact")[0]!,
});
