import { ByteDataset, decodeBytes, encodeBytes } from "@revnet-zero/data";
import type { Checkpoint, CheckpointFolder, CheckpointStore } from "@revnet-zero/io";
import { generate, type ReversibleTransformer } from "@revnet-zero/models";
import { GradScaler, type Schedule } from "@revnet-zero/optim";
import { type Engine, foldKey, NonFiniteError, RevNetError, tensor, ValueError } from "@revnet-zero/tensor";
import { type AnyOptimizer, buildModel, buildOptimizer, buildSchedule, runKey } from "./build.ts";
import { changedKeys } from "./changedKeys.ts";
import { checkState, type History, type TrainerState } from "./checkpointState.ts";
import type { TrainConfig } from "./config.ts";
import { findNonFinite } from "./diagnose.ts";
import { evaluate } from "./evaluate.ts";
import { Emitter, type TrainEvents } from "./events.ts";
import { inPrecision, type Pass, passOf, toTensors } from "./step.ts";
import { recordedSteps, type StepInput, type StepRunner, type StepSubject, stepsByPass } from "./stepRunner.ts";
import { fromEntries, toEntries } from "./tensorFiles.ts";
import { markText, type TextMark } from "./textMark.ts";
import { TrainError } from "./trainError.ts";
import { Turns } from "./turns.ts";

export interface TrainerOptions {
  readonly config: TrainConfig;
  readonly engine: Engine;
  /** The text, UTF-8. */
  readonly text: Uint8Array;
  /** Where checkpoints go; without one none are written. */
  readonly store?: CheckpointStore;
  /** Continue from this checkpoint: bit for bit the run that was interrupted. */
  readonly resume?: Checkpoint;
  /** Whether steps are run from a recording of the second: the same bits, sooner and in less memory. Default true. */
  readonly isRecorded?: boolean;
}

export interface TrainResult {
  readonly step: number;
  /** True when the signal stopped the run before its last step and evaluation. */
  readonly isInterrupted: boolean;
  readonly checkpoint: CheckpointFolder | undefined;
}

/** A scale below this says that the gradients themselves, not scaled ones, are beyond float16. */
const LEAST_SCALE = 1;

/** What text samples begin with. */
const PROMPT = "The ";

/** Trains one model on one text. Everything random is a function of the seed and the step, so nothing else need be saved. */
export class Trainer {
  readonly config: TrainConfig;
  readonly engine: Engine;
  readonly model: ReversibleTransformer;
  readonly optimizer: AnyOptimizer;
  readonly data: ByteDataset;
  /** Of float16: gradients below its range would be 0. */
  readonly scaler: GradScaler | undefined;
  readonly #store: CheckpointStore | undefined;
  readonly #schedule: Schedule;
  #steps: StepRunner;
  readonly #events = new Emitter();
  readonly #history: History = { train: [], heldOut: [] };
  readonly #counters = { saturated: 0, wrapped: 0 };
  #step = 0;
  #peakBytes = 0;
  #saved: CheckpointFolder | undefined;
  readonly #text: TextMark;
  /** The signal came before this step's evaluation was through. */
  #isEvaluationDue = false;
  /** What a resumed run does otherwise than the one that was saved. */
  #changes: readonly string[] = [];

  constructor({ config, engine, text, store, resume, isRecorded = true }: TrainerOptions) {
    const { seed, batchSize, sequenceLength } = config.train;
    const { heldOutFraction } = config.data;
    this.config = config;
    this.engine = engine;
    this.#store = store;
    this.#text = markText(text);
    this.data = new ByteDataset(text, { batchSize, sequenceLength, seed, heldOutFraction });
    this.model = buildModel(config.model, seed, engine);
    this.optimizer = buildOptimizer(this.model, config.optimizer);
    this.scaler = config.train.precision === "f16" ? new GradScaler() : undefined;
    this.#schedule = buildSchedule(config);
    this.#steps = (isRecorded ? recordedSteps : stepsByPass)(this.#subject);
    if (resume === undefined) return;
    try {
      this.#restore(resume);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get #subject(): StepSubject {
    const { model, optimizer, config } = this;
    return { model, optimizer, config, scale: () => this.scaler?.scale ?? 1 };
  }

  /** Why the last step was no graph of the device (`train.graph`); undefined where it was, or was not meant to be. */
  get whyNoGraph(): string | undefined {
    return this.#steps.whyNoGraph;
  }

  /**
   * Runs every forward and backward pass from now on through `run`, a memory scheduler's `step`: passes are called then, for a recording
   * has no blocks that a plan could speak of.
   */
  schedulePasses(run: <T>(pass: () => T) => T): void {
    const subject = this.#subject;
    const { precision, microBatches } = this.config.train;
    const pass = passOf(this.model, microBatches, { precision, scale: subject.scale });
    let batch: Parameters<Pass>;
    // One function for all: a scheduler may rehearse the first one later, on the tensors there are then.
    const current = (): ReturnType<Pass> => pass(...batch);
    this.#steps.dispose();
    const scheduled: Pass = (...given) => {
      batch = given;
      return run(current);
    };
    this.#steps = stepsByPass(subject, scheduled, "a memory scheduler runs the passes");
  }

  on<K extends keyof TrainEvents>(name: K, listener: (event: TrainEvents[K]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** Steps done. */
  get step(): number {
    return this.#step;
  }
  /** Highest live bytes of any training step of this process. */
  get peakBytes(): number {
    return this.#peakBytes;
  }
  get history(): History {
    return this.#history;
  }

  /** Mean cross-entropy on held-out text in nats per byte, over the configured number of batches. */
  evaluate(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<number> {
    const { evalBatches, precision } = this.config.train;
    return evaluate(this.model, this.data, evalBatches, { ...options, precision });
  }

  /** Text the model writes now; the same for the same step and seed. */
  async sample(prompt: string = PROMPT, length: number = this.config.train.sampleLength): Promise<string> {
    const key = foldKey(runKey(this.config.train.seed, "samples"), this.#step);
    return decodeBytes(await generate(this.model, encodeBytes(prompt), { length, temperature: 0.8, key }));
  }

  /**
   * Runs to the last step, or until the signal is aborted: then the run is saved and can be resumed. The signal is noticed
   * between steps and between the batches of an evaluation; one that is cut short is made up for when the run goes on.
   */
  async run({ signal }: { readonly signal?: AbortSignal } = {}): Promise<TrainResult> {
    const { steps, evalEvery, sampleEvery, checkpointEvery } = this.config.train;
    if (this.#changes.length > 0) {
      const message = `resumed with another configuration, so the run goes on otherwise than it would have: ${this.#changes.join(", ")}`;
      this.#events.emit("warning", { step: this.#step, message });
    }
    const isDue = (every: number): boolean => every > 0 && (this.#step % every === 0 || this.#step === steps);
    const turns = new Turns();
    if (this.#isEvaluationDue) {
      await this.#evaluate(signal);
      // What was saved lacks it.
      if (!this.#isEvaluationDue) await this.save();
    }
    while (this.#step < steps && signal?.aborted !== true) {
      await this.#trainStep();
      if (isDue(evalEvery) && this.data.heldOutWindows > 0) await this.#evaluate(signal);
      if (isDue(sampleEvery)) await this.#sample();
      if (isDue(checkpointEvery)) await this.save();
      await turns.take();
    }
    // What is not saved yet is saved here: the last step, and an interrupted one.
    if (this.#saved?.step !== this.#step) await this.save();
    return { step: this.#step, isInterrupted: this.#step < steps || this.#isEvaluationDue, checkpoint: this.#saved };
  }

  async #trainStep(): Promise<void> {
    const { engine, config, scaler } = this;
    const step = this.#step;
    const { seed, microBatches, batchSize, sequenceLength } = config.train;
    const scale = scaler?.scale ?? 1;
    const start = performance.now();
    const learningRate = this.#schedule(step);
    const input: StepInput = {
      batches: Array.from({ length: microBatches }, (_, micro) => this.data.batchAt(step, micro)),
      ...{ step, key: runKey(seed, "steps"), learningRate },
    };
    engine.ledger.resetPeak();
    const scope = engine.openScope("train step");
    try {
      const pending = this.#steps.run(input);
      const [loss, gradientNorm] = [await pending.loss.item(), await pending.norm.item()];
      const areFinite = Number.isFinite(gradientNorm);
      // Of float16 gradients that overflow, the scale is the first to be blamed.
      const isSkipped = !areFinite && scaler !== undefined && scale > LEAST_SCALE;
      const isStopped = !Number.isFinite(loss) || !(areFinite || isSkipped);
      if (isSkipped || isStopped) pending.reject();
      else pending.accept();
      if (isStopped) await this.#stopAt(input, loss, gradientNorm);
      scaler?.update(areFinite);
      this.#step++;
      this.#peakBytes = Math.max(this.#peakBytes, engine.memory().peakBytes);
      const timeMs = performance.now() - start;
      const tokens = microBatches * batchSize * sequenceLength;
      this.#history.train.push([this.#step, loss]);
      this.#events.emit("step", {
        step: this.#step,
        loss,
        learningRate,
        gradientNorm,
        ...(scaler === undefined ? {} : { lossScale: scale }),
        ...(isSkipped ? { isSkipped } : {}),
        timeMs,
        tokensPerSecond: (tokens / timeMs) * 1000,
        peakBytes: this.#peakBytes,
      });
    } finally {
      scope.close();
    }
    await this.#watchStreams();
  }

  /** Counts what the streams did in the last micro-batch; the run is told once that they left their range. */
  async #watchStreams(): Promise<void> {
    const health = await this.model.sequence.health();
    if (health.nan > 0) {
      const { step } = health.steps.find((s) => s.nan > 0)!;
      const layer = `sequence.blocks.${Math.floor(step / 2)}.${step % 2 === 0 ? "F" : "G"}`;
      throw await this.#failure(this.#step, `${health.nan} NaN increments, the first in ${layer}`, false);
    }
    if (health.saturated + health.wrapped === 0) return;
    const isNews = this.#counters.saturated + this.#counters.wrapped === 0;
    this.#counters.saturated += health.saturated;
    this.#counters.wrapped += health.wrapped;
    if (!isNews) return;
    const message = `the streams left their range: ${health.saturated} increments saturated, ${health.wrapped} sums wrapped; fewer fractionBits give a wider range`;
    this.#events.emit("warning", { step: this.#step, message, health });
  }

  /** Finds the layer, saves the state, and stops. */
  async #stopAt(input: StepInput, loss: number, gradientNorm: number): Promise<never> {
    const what = Number.isFinite(loss) ? `the gradient norm is ${gradientNorm}` : `the loss is ${loss}`;
    const again = (): void => void stepsByPass(this.#subject).run(input);
    // Its gradients may have been in no tensor.
    this.engine.scope(again);
    const { where, isStateFinite } = await findNonFinite(this.model, again);
    throw await this.#failure(input.step, `${what}: ${where}`, isStateFinite);
  }

  async #failure(step: number, problem: string, isStateFinite: boolean): Promise<TrainError> {
    this.model.zeroGrad();
    const folder = await this.save();
    const saved =
      folder === undefined
        ? ""
        : `; the state after ${this.#step} ${this.#step === 1 ? "step" : "steps"} is saved in ${folder.path}`;
    const careful = "lower optimizer.learningRate or optimizer.clipNorm, or lengthen schedule.warmupSteps";
    const again =
      folder === undefined
        ? `${careful}, and train anew`
        : isStateFinite
          ? `${careful}, and continue with --resume`
          : `${careful}, remove ${folder.path}, and continue with --resume from the checkpoint before it`;
    return new TrainError(step, `${problem}${saved}`, again);
  }

  async #evaluate(signal: AbortSignal | undefined): Promise<void> {
    const { engine, model, data } = this;
    const heldOutLoss = await this.evaluate({ signal }).catch((error: unknown) => {
      if (signal?.aborted !== true || error !== signal.reason) throw error;
      return undefined;
    });
    this.#isEvaluationDue = heldOutLoss === undefined;
    if (heldOutLoss === undefined) return;
    if (!Number.isFinite(heldOutLoss)) {
      model.eval();
      const { where, isStateFinite } = await findNonFinite(model, () => {
        for (const batch of data.heldOutBatches(this.config.train.evalBatches)) {
          const loss = (): unknown => model.loss(...toTensors(batch, engine));
          engine.scope(() => engine.noGrad(() => void inPrecision(engine, this.config.train.precision, loss)));
        }
      });
      model.train();
      throw await this.#failure(this.#step, `the held-out loss is ${heldOutLoss}: ${where}`, isStateFinite);
    }
    this.#history.heldOut.push([this.#step, heldOutLoss]);
    this.#events.emit("evaluation", { step: this.#step, heldOutLoss });
  }

  async #sample(): Promise<void> {
    const { engine, model } = this;
    const text = await this.sample().catch(async (error: unknown) => {
      if (!(error instanceof NonFiniteError)) throw error;
      const { where, isStateFinite } = await findNonFinite(model, () => {
        const prompt = encodeBytes(PROMPT);
        const tokens = tensor(Int32Array.from(prompt), { shape: [1, prompt.length], engine });
        engine.noGrad(() => model.inEval(() => model.call(tokens)));
        throw error; // It began further on in the text.
      });
      throw await this.#failure(this.#step, `no sample can be drawn: ${where}`, isStateFinite);
    });
    this.#events.emit("sample", { step: this.#step, prompt: PROMPT, text });
  }

  /** Writes a checkpoint of the present state; does nothing without a store. */
  async save(): Promise<CheckpointFolder | undefined> {
    if (this.#store === undefined) return undefined;
    const { tensors, ...optimizer } = this.optimizer.stateDict();
    const state: TrainerState = {
      format: 1,
      step: this.#step,
      microStep: 0,
      seed: this.config.train.seed,
      fractionBits: this.model.sequence.fractionBits,
      arithmetic: this.engine.backend.arithmetic ?? this.engine.backend.name,
      text: this.#text,
      optimizer,
      ...(this.scaler === undefined ? {} : { scaler: this.scaler.stateDict() }),
      counters: { ...this.#counters },
      history: this.#history,
      ...(this.#isEvaluationDue ? { isEvaluationDue: true } : {}),
    };
    // Only what was measured in this very state: an older figure would make a worse state the best.
    const metric = this.#history.heldOut.findLast(([step]) => step === this.#step);
    this.#saved = await this.#store.save(this.#step, {
      model: await toEntries(this.model.stateDict()),
      optimizer: await toEntries(tensors),
      trainer: state,
      config: this.config,
      ...(metric === undefined ? {} : { metric: metric[1] }),
    });
    this.#events.emit("checkpoint", this.#saved);
    return this.#saved;
  }

  #restore({ model, optimizer, trainer, config, path }: Checkpoint): void {
    const state = checkState(trainer);
    const { seed } = this.config.train;
    const differs = (was: string, is: string): ValueError =>
      new ValueError(
        "resume",
        `${path} was trained with ${was}, the configuration has ${is}`,
        "resume with the values of the checkpoint's config.json",
      );
    if (state.seed !== seed) throw differs(`seed ${state.seed}`, `${seed}`);
    const arithmetic = this.engine.backend.arithmetic ?? this.engine.backend.name;
    if (state.arithmetic !== arithmetic) {
      throw new ValueError(
        "resume",
        `${path} was computed with "${state.arithmetic}", this backend computes with "${arithmetic}": the run would not continue bit for bit`,
        "resume on the backend it was trained on",
      );
    }
    if (state.text.bytes !== this.#text.bytes || state.text.fnv1a !== this.#text.fnv1a) {
      throw new ValueError(
        "resume",
        `${path} was trained on another text: of ${state.text.bytes} bytes, hash ${state.text.fnv1a}; this one has ${this.#text.bytes} bytes, hash ${this.#text.fnv1a}`,
        "resume with the text it was trained on as data.source",
      );
    }
    this.#changes = changedKeys(config, this.config);
    try {
      this.engine.scope(() => {
        this.model.loadStateDict(fromEntries(model, this.engine));
        this.optimizer.loadStateDict({ ...state.optimizer, tensors: fromEntries(optimizer, this.engine) });
      });
    } catch (error) {
      // The keys that were changed say more than the shapes of every parameter that does not fit.
      const shaping = this.#changes.filter((change) => /^(model|optimizer)\./.test(change));
      if (!(error instanceof RevNetError) || shaping.length === 0) throw error;
      const problem = `the configuration does not fit ${path}: ${shaping.join(", ")}`;
      throw new ValueError("resume", problem, "resume with the values of the checkpoint's config.json", {
        cause: error,
      });
    }
    if (state.scaler !== undefined) this.scaler?.loadStateDict(state.scaler);
    // Asked for only now: where they follow from the range that was measured, it came with the model.
    const { fractionBits } = this.model.sequence;
    if (state.fractionBits !== fractionBits) throw differs(`${state.fractionBits} fraction bits`, `${fractionBits}`);
    this.#step = state.step;
    this.#isEvaluationDue = state.isEvaluationDue === true;
    Object.assign(this.#counters, state.counters);
    this.#history.train.push(...state.history.train);
    this.#history.heldOut.push(...state.history.heldOut);
    this.#saved = { step: state.step, path };
  }

  /** Frees model and optimizer. */
  dispose(): void {
    this.#steps.dispose();
    this.optimizer.dispose();
    this.model.dispose();
  }
}
