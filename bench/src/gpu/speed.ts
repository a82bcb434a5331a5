import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { compile } from "@revnet-zero/compile";
import { ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import { Engine, foldKey, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { passOf, recordedPassOf } from "@revnet-zero/train";
import type { OpProfile } from "./profile.ts";

export interface StepCase {
  readonly mode: "ordinary" | "exact" | "store";
  readonly layers: number;
  readonly width: number;
  readonly batch: number;
  readonly length: number;
  readonly vocabulary: number;
  readonly dtype: "f32" | "bf16";
  /**
   * How a step is run: called, forward and backward from a recording of them, those as a CUDA graph, or the whole step as one. Default eager.
   */
  readonly run?: "eager" | "recorded" | "graph" | "whole";
  /** Whether weights in bfloat16 are kept beside those in float32, or made at every use. Default "kept". */
  readonly weights?: "kept" | "cast";
}

export interface StepFigures {
  readonly tokensPerSecond: number;
  readonly stepMs: number;
  readonly hostMs: number;
  readonly launches: number;
  readonly peakGiB: number;
  readonly activationGiB: number;
  readonly reservedGiB: number;
  readonly firstLoss: number;
  readonly lastLoss: number;
  /** Why it was no recording, or no graph, where it was meant to be. */
  readonly not?: string;
}

const GIB = 2 ** 30;
const LEARNING_RATE = 6e-4;
/** Steps that are not timed. */
const BEFORE = 5;

/** Whole training steps: forward, backward, AdamW. */
export function timeStep(backend: CudaBackend, one: StepCase, repeats = 8, profile?: OpProfile): StepFigures {
  const { mode, layers, width, batch, length, vocabulary, dtype, run = "eager", weights = "kept" } = one;
  const engine = new Engine(profile?.backend ?? backend, { keepsCastCopies: weights === "kept" });
  backend.resetPeaks();
  const shape = {
    vocabSize: vocabulary,
    numLayers: layers,
    dModel: width,
    numHeads: width / 64,
    maxSeqLen: length,
    key: randomKey(1),
    engine,
  };
  const model =
    mode === "ordinary" ? new Transformer(shape) : new ReversibleTransformer({ ...shape, reversibility: mode });
  const optimizer = new AdamW(model.parameters(), { learningRate: LEARNING_RATE, beta2: 0.95, weightDecay: 0.1 });
  const tokensOf = (step: number): Int32Array =>
    Int32Array.from({ length: batch * length + 1 }, (_, i) => ((i * 7919 + step * 104729) >>> 3) % vocabulary);
  const options = { precision: dtype, graph: run !== "recorded" };
  const pass = run === "eager" || run === "whole" ? undefined : recordedPassOf(model, 1, options);
  const called = passOf(model, 1, { precision: dtype });
  const compute = (tokens: Tensor, targets: Tensor): Tensor => {
    const loss = (pass ?? called)(tokens, targets);
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  };
  const whole = run === "whole" ? compile(compute, { graph: true }) : undefined;
  const last = BEFORE + repeats;
  const step = (n: number): number => {
    let value = 0;
    engine.scope(() => {
      const all = tokensOf(n);
      const shape = [batch, length];
      const make = (from: number): Tensor => tensor(all.slice(from, from + batch * length), { shape, engine });
      const loss = engine.withKey(foldKey(randomKey(3), n), () => (whole ?? compute)(make(0), make(1)));
      value = n === 0 || n === last ? loss.itemSync() : Number.NaN;
    });
    return value;
  };
  const firstLoss = step(0);
  // A recording is made by the second step, run by the third, and a graph by the fourth.
  for (let n = 1; n < BEFORE; n++) step(n);
  backend.synchronize();
  profile?.reset();
  engine.ledger.resetPeak();
  const [start, launches] = [performance.now(), backend.device.launches];
  for (let n = BEFORE; n < last; n++) step(n);
  const hostMs = (performance.now() - start) / repeats;
  backend.synchronize();
  const stepMs = (performance.now() - start) / repeats;
  const perStep = (backend.device.launches - launches) / repeats;
  const lastLoss = step(last);
  const { peakBytes, activationBytes } = engine.memory();
  const { peakReservedBytes } = backend.memory();
  const recorded = pass ?? whole;
  const not = recorded?.reason ?? (run === "recorded" ? undefined : recorded?.recordings[0]?.whyNoGraph);
  recorded?.dispose();
  model.dispose();
  optimizer.dispose();
  backend.releaseCaches();
  return {
    tokensPerSecond: (1000 * batch * length) / stepMs,
    stepMs,
    hostMs,
    launches: perStep,
    peakGiB: peakBytes / GIB,
    activationGiB: activationBytes / GIB,
    reservedGiB: peakReservedBytes / GIB,
    firstLoss,
    lastLoss,
    ...(not === undefined ? {} : { not }),
  };
}
