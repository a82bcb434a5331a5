import type { DType } from "./dtype.ts";
import { foldKey, type Key } from "./rng.ts";

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
}

export class Ambient implements AmbientState {
  readonly autocast: DType | undefined;
  readonly key: Key | undefined;
  calls: number;

  constructor({ autocast, key, calls }: AmbientState) {
    this.autocast = autocast;
    this.key = key;
    this.calls = calls;
  }

  /** An independent copy, its counter included. */
  fork(changes: Partial<AmbientState> = {}): Ambient {
    return new Ambient({ autocast: this.autocast, key: this.key, calls: this.calls, ...changes });
  }

  /** The next key of this context: root folded with a call counter. */
  nextKey(): Key | undefined {
    return this.key === undefined ? undefined : foldKey(this.key, this.calls++);
  }
}
