import type { CheckpointFolder } from "@revnet-zero/io";
import type { StreamHealth } from "@revnet-zero/reversible";

/** What happens in a run, with what is known about it. */
export interface TrainEvents {
  step: StepEvent;
  evaluation: { readonly step: number /** Nats per byte. */; readonly heldOutLoss: number };
  sample: { readonly step: number; readonly prompt: string; readonly text: string };
  checkpoint: CheckpointFolder;
  /** Something that does not stop the run, but that somebody should know. */
  warning: { readonly step: number; readonly message: string; readonly health?: StreamHealth };
}

export interface StepEvent {
  /** Steps done, this one included. */
  readonly step: number;
  /** Nats per byte. */
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** What the loss was multiplied with in this step (float16 only). */
  readonly lossScale?: number;
  /** The gradients overflowed float16, so the parameters are as they were; the scale shrinks. */
  readonly isSkipped?: true;
  readonly timeMs: number;
  readonly tokensPerSecond: number;
  /** Highest live bytes of any training step so far. */
  readonly peakBytes: number;
}

type Listener<K extends keyof TrainEvents> = (event: TrainEvents[K]) => void;

/** Typed listeners; `on` gives the function that removes the listener again. */
export class Emitter {
  readonly #listeners: { [K in keyof TrainEvents]?: Set<Listener<K>> } = {};

  on<K extends keyof TrainEvents>(name: K, listener: Listener<K>): () => void {
    const set = (this.#listeners[name] ?? new Set()) as Set<Listener<K>>;
    (this.#listeners as Record<K, Set<Listener<K>>>)[name] = set;
    set.add(listener);
    return () => set.delete(listener);
  }

  emit<K extends keyof TrainEvents>(name: K, event: TrainEvents[K]): void {
    for (const listener of (this.#listeners[name] ?? []) as Iterable<Listener<K>>) listener(event);
  }
}
