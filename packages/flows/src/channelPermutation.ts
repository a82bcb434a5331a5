import { defaultEngine, type Engine, type Key, randomWord, type Tensor, tensor, ValueError } from "@revnet-zero/tensor";
import { checkChannels } from "./errors.ts";
import { Bijection, type FlowOutput, keepsVolume } from "./flowLayer.ts";

export interface ChannelPermutationOptions {
  /** Output channel i is input channel `order[i]`. `reversedOrder` and `randomOrder` make one. */
  readonly order: readonly number[];
  /** Default: the default engine. */
  readonly engine?: Engine;
}

/** Channels in another order, `[batch, c, ...]`; any dtype, so fixed-point streams pass bit for bit. */
export class ChannelPermutation extends Bijection {
  /** The order and its inverse, i32 `[c]`. */
  readonly order: Tensor;
  readonly inverseOrder: Tensor;

  constructor({ order, engine = defaultEngine() }: ChannelPermutationOptions) {
    super();
    const places = order.map((_, i) => order.indexOf(i));
    if (order.length === 0 || places.includes(-1)) {
      throw new ValueError(
        "ChannelPermutation",
        `the order is [${order.join(", ")}]`,
        "name each of 0, 1, ..., c - 1 once",
      );
    }
    this.order = this.buffer(tensor(Int32Array.from(order), { engine }));
    this.inverseOrder = this.buffer(tensor(Int32Array.from(places), { engine }));
  }

  override forward(x: Tensor): FlowOutput {
    checkChannels("ChannelPermutation", x, this.order.size);
    return { value: x.take(this.order, 1), logDeterminant: keepsVolume(x) };
  }
  protected override invert(y: Tensor): FlowOutput {
    checkChannels("ChannelPermutation", y, this.order.size);
    return { value: y.take(this.inverseOrder, 1), logDeterminant: keepsVolume(y) };
  }
}

/** c - 1, ..., 1, 0: the halves of a coupling change places. */
export const reversedOrder = (channels: number): number[] =>
  Array.from({ length: channels }, (_, i) => channels - 1 - i);

/** A uniformly drawn order of 0, 1, ..., c - 1 (Fisher-Yates); the same for the same key. */
export function randomOrder(channels: number, key: Key): number[] {
  const order = Array.from({ length: channels }, (_, i) => i);
  for (let i = channels - 1; i > 0; i--) {
    const j = Math.floor((randomWord(key, i) / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
