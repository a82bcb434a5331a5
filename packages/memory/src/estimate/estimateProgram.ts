import { MetaBackend, NoValuesError } from "@revnet-zero/backend-meta";
import { type Backend, BackendError, type BytesByCategory, Engine, type MemoryReport } from "@revnet-zero/tensor";

/**
 * A training program: makes everything that lasts (model, optimizer) on the engine it is given, and returns one step, with all that
 * belongs to it: forward, backward, update, gradients freed. A step is synchronous and reads no values (no `item()`).
 */
export type StepProgram = (engine: Engine) => () => unknown;

export interface EstimateOptions {
  /** The backend the program is to run on: its kernels decide which copies and parts of fused ops there are. */
  readonly like: Backend;
  /** Steps that are run. Default 2: the first makes the optimizer's state, and the second is like all that follow. */
  readonly steps?: number;
  /** The first step that is counted, of which the highest counts. Default: the last one alone. */
  readonly countsFrom?: number;
}

export interface ProgramEstimate {
  /** Highest sum of live bytes in a counted step. */
  readonly peakBytes: number;
  /** What that peak consists of. */
  readonly atPeak: BytesByCategory;
  /** Peak less parameters, gradients and optimizer state at that instant. */
  readonly activationBytes: number;
  /** After the step; with the copies in fewer bits that autocast keeps. */
  readonly parameterBytes: number;
  readonly optimizerBytes: number;
  /** Most bytes of gradients that were alive at once in the counted steps. */
  readonly gradientBytes: number;
  /**
   * Most bytes of the device's memory in all of the program's steps, where the backend `like` can say it: handed out to tensors and to kernels for as
   * long as they run, rounded up as they are; and taken from the driver, with what is kept for reuse. Its context (some hundred MiB) is apart.
   */
  readonly device: { readonly usedBytes: number; readonly reservedBytes: number } | undefined;
  /** What was taken for granted because values decide it; where this is empty the peak is exact. */
  readonly assumptions: readonly string[];
}

/**
 * The memory of a training step before anything is run: the very program on a backend that computes nothing, counted by the same ledger.
 * Where nothing was assumed, the program's own peak on the backend `like` is the same number, to the byte.
 *
 * @throws BackendError if the program reads values, or waits for something.
 */
export function estimateProgram(
  program: StepProgram,
  { like, steps = 2, countsFrom = steps - 1 }: EstimateOptions,
): ProgramEstimate {
  const backend = MetaBackend.like(like, { modelsMemory: true });
  const engine = new Engine(backend as Backend, { memoryLimitBytes: Number.POSITIVE_INFINITY });
  let gradientBytes = 0;
  const noteGradients = (): void => {
    gradientBytes = Math.max(gradientBytes, engine.ledger.liveBytesOf("gradients"));
  };
  const step = run(() => program(engine));
  let highest: MemoryReport | undefined;
  const stop = engine.ledger.watch({ allocated: noteGradients, moved: noteGradients, freed: () => {} });
  for (let i = 0; i < steps; i++) {
    if (i === countsFrom) gradientBytes = 0;
    engine.ledger.resetPeak();
    engine.scope(() => void run(step));
    const memory = engine.memory();
    if (i >= countsFrom && (highest === undefined || memory.peakBytes >= highest.peakBytes)) highest = memory;
  }
  stop();
  const { peakBytes, atPeak, activationBytes } = highest!;
  const { live } = engine.memory();
  const { model } = backend;
  return {
    peakBytes,
    atPeak,
    activationBytes,
    parameterBytes: live.parameters,
    optimizerBytes: live.optimizer,
    gradientBytes,
    device: model && { usedBytes: model.peakUsedBytes, reservedBytes: model.peakReservedBytes },
    assumptions: [...backend.assumptions],
  };
}

/** A program that wants values is told what to leave out; its other errors are its own. */
function run<T>(f: () => T): T {
  try {
    const result = f();
    if (!(result instanceof Promise)) return result;
    result.catch(() => {});
  } catch (error) {
    if (!(error instanceof NoValuesError)) throw error;
    throw new BackendError("estimate", "the program reads a value", hint, { cause: error });
  }
  throw new BackendError("estimate", "the program is asynchronous", hint);
}

const hint =
  "leave item(), data() and await out of the step: it computes nothing here, and what is read does not change its memory";
