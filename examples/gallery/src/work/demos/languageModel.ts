import { ByteDataset, bigramCrossEntropy, decodeBytes, encodeBytes } from "@revnet-zero/data";
import { generate, ReversibleTransformer } from "@revnet-zero/models";
import { schedules } from "@revnet-zero/optim";
import { foldKey, randomKey } from "@revnet-zero/tensor";
import { applyGradients, buildOptimizer, computeGradients, defaultConfig, evaluate } from "@revnet-zero/train";
import type { Session } from "../session.ts";
import type { Demo } from "./index.ts";

export interface LanguageModelSettings {
  readonly layers: number;
  readonly width: number;
  readonly steps: number;
  /** Activations rebuilt in backward, or stored. The weights are the same bits either way. */
  readonly isReversible: boolean;
}

export interface Question {
  readonly prompt: string;
  readonly length: number;
  readonly temperature: number;
}

export type LanguageModelEvent =
  | { readonly kind: "begun"; readonly parameters: number; readonly bigramBits: number; readonly steps: number }
  | {
      readonly kind: "step";
      readonly step: number;
      /** Bits per byte of the batch. */
      readonly bits: number;
      readonly tokensPerSecond: number;
      readonly peakBytes: number;
      readonly activationBytes: number;
    }
  | { readonly kind: "heldOut"; readonly step: number; readonly bits: number }
  | { readonly kind: "sample"; readonly step: number; readonly prompt: string; readonly text: string }
  | { readonly kind: "answer"; readonly prompt: string; readonly text: string; readonly isWhole: boolean };

const SEED = 1;
const [BATCH, LENGTH] = [16, 64];
const LEARNING_RATE = 4e-3;
const PROMPT = "The ";
const SAMPLE_BYTES = 160;
/** Held-out batches of an evaluation: 8 × 16 × 64 bytes. */
const EVALUATION_BATCHES = 8;
/** Speed is that of so many last steps. */
const SPEED_STEPS = 10;

/** Trains a byte-level reversible transformer on Moby-Dick, and then writes what it is asked to. */
export function languageModel(
  session: Session<LanguageModelEvent>,
): Demo<LanguageModelSettings, Question> & Required<Pick<Demo<LanguageModelSettings, Question>, "ask">> {
  const { engine } = session;
  const key = randomKey(SEED);
  let model: ReversibleTransformer | undefined;
  let asked = 0;

  async function run({ layers, width, steps, isReversible }: LanguageModelSettings): Promise<void> {
    const text = await session.readText();
    const data = new ByteDataset(text, { batchSize: BATCH, sequenceLength: LENGTH, seed: SEED });
    model = new ReversibleTransformer({
      numLayers: layers,
      dModel: width,
      numHeads: width / 16,
      maxSeqLen: LENGTH,
      reversibility: isReversible ? "exact" : "store",
      key: foldKey(key, 0),
      engine,
    });
    const optimizer = buildOptimizer(model, defaultConfig.optimizer);
    const warm = Math.ceil(steps / 20);
    const rate = schedules.sequence(
      { schedule: schedules.warmUp({ steps: warm, to: LEARNING_RATE }), steps: warm },
      { schedule: schedules.cosine({ from: LEARNING_RATE, to: LEARNING_RATE / 20, steps: steps - warm }) },
    );
    const bigramBits = bigramCrossEntropy(data.train, data.heldOut);
    session.emit({ kind: "begun", parameters: model.parameterCount(), bigramBits, steps });
    await heldOut(data, 0);
    const every = Math.max(1, Math.round(steps / 12));
    const times: number[] = [];
    for (let step = 0; step < steps; step++) {
      await session.turn();
      const start = session.now();
      engine.ledger.resetPeak();
      const scope = engine.openScope("step");
      const { loss, factor } = computeGradients(model, [data.batchAt(step)], { key, step, clipNorm: 1 });
      applyGradients(optimizer, rate(step), factor);
      const bits = (await loss.item()) / Math.LN2;
      scope.close();
      times.push(session.now() - start);
      if (times.length > SPEED_STEPS) times.shift();
      const tokensPerSecond = (1000 * BATCH * LENGTH * times.length) / times.reduce((a, b) => a + b);
      const { peakBytes, activationBytes } = engine.memory();
      session.emit({ kind: "step", step: step + 1, bits, tokensPerSecond, peakBytes, activationBytes });
      if ((step + 1) % every === 0 || step + 1 === steps) {
        await heldOut(data, step + 1);
        const text = await write({ prompt: PROMPT, length: SAMPLE_BYTES, temperature: 0.7 }, foldKey(key, 2));
        session.emit({ kind: "sample", step: step + 1, prompt: PROMPT, text });
      }
    }
    optimizer.dispose();
  }

  async function heldOut(data: ByteDataset, step: number): Promise<void> {
    const nats = await evaluate(model!, data, EVALUATION_BATCHES);
    session.emit({ kind: "heldOut", step, bits: nats / Math.LN2 });
  }

  const write = async (
    { prompt, length, temperature }: Question,
    drawn: ReturnType<typeof randomKey>,
  ): Promise<string> => decodeBytes(await generate(model!, encodeBytes(prompt), { length, temperature, key: drawn }));

  /** Continues the reader's words, a few bytes at a time, so that they are seen to be written. */
  async function ask({ prompt, length, temperature }: Question): Promise<void> {
    const drawn = foldKey(foldKey(key, 3), asked++);
    const written: number[] = Array.from(encodeBytes(prompt));
    const begun = written.length;
    while (written.length - begun < length) {
      await session.turn();
      const part = Math.min(8, length - (written.length - begun));
      const next = foldKey(drawn, written.length);
      written.push(...(await generate(model!, written, { length: part, temperature, key: next })));
      const isWhole = written.length - begun === length;
      session.emit({ kind: "answer", prompt, text: decodeBytes(written.slice(begun)), isWhole });
    }
  }

  return { run, ask };
}
