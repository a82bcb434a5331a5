import { compileGradients } from "@revnet-zero/compile";
import { ReversibleTransformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import { type Engine, foldKey, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";

// A small reversible language model and a text with some structure, both from a seed: the same on every backend.

export interface Size {
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly dModel: number;
}

export const small: Size = { batchSize: 4, sequenceLength: 32, dModel: 32 };
/** For many steps. */
export const tiny: Size = { batchSize: 1, sequenceLength: 8, dModel: 8 };

const words = "the whale that swam before them was white and old and the sea was calm as if it knew".split(" ");

/** Words of a small vocabulary in an order that a linear recurrence draws. */
function textOf(bytes: number): Uint8Array {
  let state = 1;
  let text = "";
  while (text.length < bytes) {
    state = (state * 48271) % 2147483647;
    text += `${words[state % words.length]} `;
  }
  return new TextEncoder().encode(text.slice(0, bytes));
}

const text = textOf(20_000);

function batchAt(step: number, { batchSize, sequenceLength }: Size, engine: Engine): readonly [Tensor, Tensor] {
  const inputs = new Int32Array(batchSize * sequenceLength);
  const targets = new Int32Array(batchSize * sequenceLength);
  for (let b = 0; b < batchSize; b++) {
    const start = ((step * batchSize + b) * 7919) % (text.length - sequenceLength - 1);
    for (let t = 0; t < sequenceLength; t++) {
      inputs[b * sequenceLength + t] = text[start + t]!;
      targets[b * sequenceLength + t] = text[start + t + 1]!;
    }
  }
  const shape = [batchSize, sequenceLength];
  return [tensor(inputs, { shape, engine }), tensor(targets, { shape, engine })];
}

export interface Training {
  /** Mean cross-entropy of the last 20 steps, in nats a byte. */
  readonly lastLoss: number;
  readonly firstLoss: number;
  readonly timeMs: number;
  readonly losses: readonly number[];
  /** Why the last step did not run from a recording. */
  readonly whyNotRecorded: string | undefined;
}

interface TrainOptions {
  readonly size?: Size;
  /** Forward and backward run from a recording of the second step. */
  readonly isRecorded?: boolean;
  readonly onStep?: (step: number) => void;
}

/** AdamW steps of a model of two reversible blocks; `onStep` sees each once it is done. */
export async function train(
  engine: Engine,
  steps: number,
  { size = small, isRecorded = false, onStep }: TrainOptions = {},
): Promise<Training> {
  const { dModel, sequenceLength } = size;
  const key = randomKey(7);
  const options = { numLayers: 2, dModel, numHeads: 2, maxSeqLen: sequenceLength, dropout: 0.1, key, engine };
  const model = new ReversibleTransformer({ ...options, reversibility: "exact" });
  const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3 });
  const gradients = (inputs: Tensor, targets: Tensor): Tensor => {
    const mean = model.loss(inputs, targets);
    mean.backward();
    return mean.detach();
  };
  const recorded = compileGradients(model.parameters(), gradients);
  const start = performance.now();
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const loss = engine.scope(() =>
      engine.withKey(foldKey(key, step), () => {
        const [inputs, targets] = batchAt(step, size, engine);
        const mean = (isRecorded ? recorded : gradients)(inputs, targets);
        optimizer.step();
        optimizer.zeroGrad();
        return mean;
      }),
    );
    losses.push(await loss.item());
    loss.dispose();
    onStep?.(step);
  }
  const timeMs = performance.now() - start;
  const whyNotRecorded = isRecorded ? recorded.reason : undefined;
  recorded.dispose();
  optimizer.dispose();
  model.dispose();
  const last = losses.slice(-20);
  return {
    whyNotRecorded,
    losses,
    firstLoss: losses[0]!,
    lastLoss: last.reduce((a, b) => a + b, 0) / last.length,
    timeMs,
  };
}
