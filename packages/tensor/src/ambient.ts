import type { DType } from "./dtype.ts";
import { foldKey, type Key } from "./rng.ts";
import type { Tensor } from "./tensor/tensor.ts";

/** Where code that will run again, or runs again, keeps its decisions. */
export interface Recall {
  /** The first run makes the value and keeps it; a second one gets it back. */
  next(make: () => Tensor): Tensor;
  /** The same for a part of the computation that a second run may reach in another order. */
  section(index: number): Recall;
}

/**
 * What a computation depends on besides its inputs. Captured whole by everything that runs code again in backward
 * (checkpoints, reversible sequences), so that the second run is the first one's twin.
 */
export interface AmbientState {
  /** The low precision of matrix products, or undefined for none. */
  readonly autocast: DType | undefined;
  /** Root of the keys drawn by `nextKey`; undefined outside `withKey`. */
  readonly key: Key | undefined;
  /** How many keys were drawn from the root so far. */
  readonly calls: number;
  /** Whether this code has run before with the same inputs: effects (running statistics) have happened. */
  readonly isReplay: boolean;
  /** Undefined where nothing will run again. */
  readonly recall: Recall | undefined;
}

export class Ambient implements AmbientState {
  readonly autocast: DType | undefined;
  readonly key: Key | undefined;
  calls: number;
  readonly isReplay: boolean;
  /** Set and put back in place, so that keys go on being counted. */
  recall: Recall | undefined;

  constructor({ autocast, key, calls, isReplay, recall }: AmbientState) {
    this.autocast = autocast;
    this.key = key;
    this.calls = calls;
    this.isReplay = isReplay;
    this.recall = recall;
  }

  /** An independent copy, its counter included. */
  fork(changes: Partial<AmbientState> = {}): Ambient {
    const { autocast, key, calls, isReplay, recall } = this;
    return new Ambient({ autocast, key, calls, isReplay, recall, ...changes });
  }

  /** The next key of this context: root folded with a call counter. */
  nextKey(): Key | undefined {
    return this.key === undefined ? undefined : foldKey(this.key, this.calls++);
  }
}
