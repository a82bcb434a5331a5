import {
  AutogradError,
  type CreateOptions,
  defaultEngine,
  describeAll,
  dispatch,
  ops,
  ShapeError,
  type Tensor,
  zeros,
} from "@revnet-zero/tensor";
import { checkSizes } from "./options.ts";

export interface KeyValueCacheOptions extends CreateOptions {
  readonly batch: number;
  readonly numKeyValueHeads: number;
  /** Longest sequence it can hold. */
  readonly length: number;
  /** Of one head. */
  readonly headDim: number;
}

/** Which keys a query sees. */
export interface AttentionMask {
  readonly isCausal: boolean;
  readonly window?: number;
}

/** What an attention layer has seen of a sequence. */
export interface AttentionCache {
  /** Steps seen. */
  readonly length: number;
  /** Adds k and v `[b, hk, time, d]` of the next steps; gives what their queries q `[b, h, time, d]` take from all steps so far. */
  attend(q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask): Tensor;
}

/** Keys and values of the steps an attention layer has seen: generation computes only the new ones. One per layer. */
export class KeyValueCache implements AttentionCache {
  readonly capacity: number;
  #keys: Tensor;
  #values: Tensor;
  #length = 0;

  constructor({ batch, numKeyValueHeads, length, headDim, engine = defaultEngine(), dtype }: KeyValueCacheOptions) {
    checkSizes("KeyValueCache", { batch, numKeyValueHeads, length, headDim });
    const make = (): Tensor =>
      engine.keep(zeros([batch, numKeyValueHeads, length, headDim], { dtype: dtype ?? "f32", engine }));
    this.capacity = length;
    this.#keys = make();
    this.#values = make();
  }

  /** Steps held. */
  get length(): number {
    return this.#length;
  }

  /** Adds k and v `[batch, heads, time, dim]` of the next steps; gives those of all steps so far, as views. */
  append(k: Tensor, v: Tensor): { readonly keys: Tensor; readonly values: Tensor } {
    const time = k.shape[2] ?? 0;
    if (this.#length + time > this.capacity) {
      throw new ShapeError(
        "KeyValueCache",
        `${this.#length} + ${time} steps exceed its ${this.capacity} (${describeAll([k, v])})`,
        "make it with a greater length, or clear() it",
      );
    }
    if (k.requiresGrad && k.engine.recordsGradients) {
      throw new AutogradError(
        "KeyValueCache",
        "cannot be differentiated through",
        "generate in engine.noGrad(() => …)",
      );
    }
    this.#keys = this.#write(this.#keys, k);
    this.#values = this.#write(this.#values, v);
    this.#length += time;
    return { keys: this.#keys.narrow(2, 0, this.#length), values: this.#values.narrow(2, 0, this.#length) };
  }

  attend(q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask): Tensor {
    const { keys, values } = this.append(k, v);
    return q.attention(keys, values, mask);
  }

  /** Forgets all steps. */
  clear(): void {
    this.#length = 0;
  }

  dispose(): void {
    this.#keys.dispose();
    this.#values.dispose();
  }

  /** In place where nobody else looks at the buffer. */
  #write(held: Tensor, part: Tensor): Tensor {
    const starts = [0, 0, this.#length, 0];
    const [next] = dispatch(held.engine, ops.writeSlice, [held, part], { starts }, { donates: true });
    held.dispose();
    return held.engine.keep(next!);
  }
}
