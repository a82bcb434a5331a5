import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { estimateProgram } from "@revnet-zero/memory";
import { ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import { type Backend, Engine, OutOfMemoryError, ops, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { passOf } from "@revnet-zero/train";

/** Which of a step's two sizes is made as large as memory allows: sequences of 1024 tokens, or the tokens of one sequence. */
export type LargestAxis = "batch" | "length";

export interface LargestCase {
  readonly mode: "ordinary" | "exact";
  readonly axis: LargestAxis;
  readonly layers: number;
  readonly width: number;
  readonly vocabulary: number;
  /** Tokens of a sequence, where sequences are counted. */
  readonly length: number;
  /** Tokens that a step has time for: an estimate may allow more. */
  readonly mostTokens: number;
}

export interface LargestFound {
  /** By the estimate, beside what kernels are known to need. */
  readonly estimated: number;
  /** The largest that made a step, and the least that did not. */
  readonly made: number;
  readonly refused: number | undefined;
  /** What the one that did not was refused with. */
  readonly why: string | undefined;
  readonly estimatedGiB: number;
  readonly peakGiB: number;
  readonly reservedGiB: number;
  readonly stepMs: number;
  readonly loss: number;
  /** Loss and norm of all gradients of that step over those of a small one: 1 where sequences are counted, since all are equal. */
  readonly lossRatio: number;
  readonly normRatio: number;
}

const GIB = 2 ** 30;
/** Workspaces of products, attention and long sums, beside what tensors take; and what the allocator cannot use. */
const BESIDE = 2 * GIB;
/** Steps of the search, and how far apart its first candidates are. */
const MOST_STEPS = 6;
const SHARE = 0.03;
/** Of the step that large ones are compared with; and of the first two estimates, from which a line leads to the next. */
const small = { batch: 2, length: 1024 } as const;
const estimatedSizes = { batch: [32, 96], length: [32_768, 98_304] } as const;
const ESTIMATES = 3;
/** A batch grows by whole sequences, a sequence by whole tiles. */
const units = { batch: 1, length: 1024 } as const;

interface Step {
  /** Makes a step of a size; gives its loss and the norm of its gradients. */
  readonly run: (size: number) => { readonly loss: Tensor; readonly norm: Tensor };
  readonly dispose: () => void;
}

/** Forward, backward and AdamW of a GPT on equal sequences; weights stay what they are. */
function build({ mode, axis, layers, width, vocabulary, length }: LargestCase, size: number, engine: Engine): Step {
  const options = {
    ...{ vocabSize: vocabulary, numLayers: layers, dModel: width, numHeads: width / 64 },
    ...{ maxSeqLen: axis === "batch" ? length : size, key: randomKey(1), engine },
  };
  const model =
    mode === "ordinary" ? new Transformer(options) : new ReversibleTransformer({ ...options, reversibility: "exact" });
  const optimizer = new AdamW(model.parameters(), { learningRate: 0 });
  const pass = passOf(model, 1, { precision: "bf16" });
  const run: Step["run"] = (n) => {
    const [batch, time] = axis === "batch" ? [n, length] : [1, n];
    const tokens = (from: number): Tensor =>
      tensor(
        Int32Array.from({ length: batch * time }, (_, i) => (((i % time) + from) * 7919) % vocabulary),
        { shape: [batch, time], engine },
      );
    return engine.withKey(randomKey(3), () => {
      const loss = pass(tokens(0), tokens(1));
      const gradients = model.parameters().map((p) => p.grad!);
      const norm = loss.apply(ops.globalNorm, gradients, undefined);
      optimizer.step();
      optimizer.zeroGrad();
      return { loss, norm };
    });
  };
  const dispose = (): void => {
    optimizer.dispose();
    model.dispose();
  };
  return { run, dispose };
}

interface Made extends Pick<LargestFound, "peakGiB" | "reservedGiB" | "stepMs" | "loss" | "lossRatio" | "normRatio"> {}

/** A step of a size after a small one, which makes the optimizer's state and compiles; what was thrown where there is no memory for it. */
function attempt(backend: CudaBackend, one: LargestCase, size: number): Made | OutOfMemoryError {
  backend.releaseCaches();
  const engine = new Engine(backend as Backend);
  let built: Step | undefined;
  try {
    built = build(one, size, engine);
    const { run } = built;
    const measured = (n: number): [loss: number, norm: number] =>
      engine.scope(() => {
        const { loss, norm } = run(n);
        return [loss.itemSync(), norm.itemSync()];
      });
    const [smallLoss, smallNorm] = measured(small[one.axis]);
    backend.resetPeaks();
    engine.ledger.resetPeak();
    const start = performance.now();
    const [loss, norm] = measured(size);
    const stepMs = performance.now() - start;
    const [peakBytes, reservedBytes] = [engine.memory().peakBytes, backend.memory().peakReservedBytes];
    return {
      ...{ peakGiB: peakBytes / GIB, reservedGiB: reservedBytes / GIB, stepMs, loss },
      ...{ lossRatio: loss / smallLoss, normRatio: norm / smallNorm },
    };
  } catch (error) {
    if (error instanceof OutOfMemoryError) return error;
    throw error;
  } finally {
    built?.dispose();
    backend.releaseCaches();
  }
}

/** The largest size whose step the device has memory for: a candidate by estimates, verified by steps. */
export function findLargest(backend: CudaBackend, one: LargestCase): LargestFound {
  const unit = units[one.axis];
  const peakOf = (size: number): number =>
    estimateProgram(
      (engine) => {
        const { run } = build(one, size, engine);
        return () => void run(size);
      },
      { like: backend as Backend },
    ).peakBytes;
  const whole = (size: number): number => unit * Math.floor(size / unit);
  backend.releaseCaches();
  const { freeBytes, reservedBytes } = backend.memory();
  const room = freeBytes + reservedBytes - BESIDE;
  // The peak of a large step is a line; where it is another of the step's moments, small ones lie on another.
  let [few, estimated] = estimatedSizes[one.axis] as readonly number[] as [number, number];
  for (let n = 0; n < ESTIMATES && few !== estimated; n++) {
    const [a, b] = [peakOf(few), peakOf(estimated)];
    [few, estimated] = [estimated, whole(estimated + ((room - b) * (estimated - few)) / (b - a))];
  }
  const most = whole(Math.min(estimated, one.mostTokens / (one.axis === "batch" ? one.length : 1)));
  let [size, largest, share] = [most, most, SHARE];
  let made: Made | undefined;
  let [refused, why] = [undefined as number | undefined, undefined as OutOfMemoryError | undefined];
  for (let n = 0; n < MOST_STEPS; n++) {
    const found = attempt(backend, one, size);
    if (found instanceof OutOfMemoryError) {
      [refused, why] = [size, found];
      if (made !== undefined) break;
      // Each time twice as far down: something is found, however far off the estimate.
      size = whole(size * (1 - share));
      share *= 2;
      continue;
    }
    [made, largest] = [found, size];
    if (most < estimated || refused !== undefined) break;
    size = whole(size * (1 + SHARE));
  }
  if (made === undefined)
    throw new OutOfMemoryError(
      "largest",
      `no step of ${refused} fits, where ${estimated} were estimated: ${why?.message}`,
    );
  return { ...made, estimated, made: largest, refused, why: why?.message, estimatedGiB: peakOf(largest) / GIB };
}
