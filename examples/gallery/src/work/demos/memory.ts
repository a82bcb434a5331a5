import { ReversibleTransformer } from "@revnet-zero/models";
import { type Backend, Engine, OutOfMemoryError, randomKey, tensor } from "@revnet-zero/tensor";
import type { Session } from "../session.ts";
import type { Demo } from "./index.ts";

/** The same network with activations kept in two ways. */
export const memoryModes = ["store", "exact"] as const;
export type MemoryMode = (typeof memoryModes)[number];

export interface MemorySettings {
  readonly depths: readonly number[];
  readonly width: number;
  /** Bytes a step may hold: what a device would have. 0 for no limit. */
  readonly limitBytes: number;
}

export interface MemoryPoint {
  readonly kind: "point";
  readonly depth: number;
  readonly mode: MemoryMode;
  /** Peak of a training step less parameters and their gradients; undefined where it does not fit. */
  readonly activationBytes: number | undefined;
  /** Peak of everything. */
  readonly peakBytes: number | undefined;
  readonly timeMs: number;
}

const [BATCH, LENGTH] = [4, 64];

/** Takes a real step forward and backward at each depth, stored and reversible, and asks the ledger what was the most. */
export function memory(session: Session<MemoryPoint>): Demo<MemorySettings> {
  async function run({ depths, width, limitBytes }: MemorySettings): Promise<void> {
    const tooDeep = new Set<MemoryMode>();
    for (const depth of depths) {
      for (const mode of memoryModes) {
        await session.turn();
        const point = tooDeep.has(mode)
          ? undefined
          : await measure(session.engine.backend, { depth, width, mode, limitBytes });
        if (point === undefined) tooDeep.add(mode);
        session.emit({
          kind: "point",
          depth,
          mode,
          activationBytes: point?.activationBytes,
          peakBytes: point?.peakBytes,
          timeMs: point?.timeMs ?? 0,
        });
      }
    }
  }
  return { run };
}

interface Place {
  readonly depth: number;
  readonly width: number;
  readonly mode: MemoryMode;
  readonly limitBytes: number;
}

/** One step on an engine of its own; undefined where the limit is met. */
async function measure(backend: Backend, { depth, width, mode, limitBytes }: Place) {
  const engine = new Engine(backend, limitBytes === 0 ? {} : { memoryLimitBytes: limitBytes });
  const scope = engine.openScope("measure");
  let model: ReversibleTransformer | undefined;
  try {
    const start = performance.now();
    model = new ReversibleTransformer({
      numLayers: depth,
      dModel: width,
      numHeads: width / 16,
      maxSeqLen: LENGTH,
      reversibility: mode,
      key: randomKey(1),
      engine,
    });
    const words = Int32Array.from({ length: BATCH * LENGTH }, (_, i) => (i * 7919) % 256);
    const shape = [BATCH, LENGTH];
    engine.ledger.resetPeak();
    const loss = model.loss(tensor(words, { shape, engine }), tensor(words, { shape, engine }));
    loss.backward();
    // Where work is asynchronous, until it is done.
    await loss.item();
    const { activationBytes, peakBytes } = engine.memory();
    return { activationBytes, peakBytes, timeMs: performance.now() - start };
  } catch (error) {
    if (error instanceof OutOfMemoryError && limitBytes !== 0) return undefined;
    throw error;
  } finally {
    scope.close();
    model?.dispose();
  }
}
