import { full, type Tensor } from "@revnet-zero/tensor";
import type { StepMemory } from "./arithmetic.ts";

// What exactScale.ts computes, said a second time for the stored form: in float64, which holds every number that occurs, and
// without bytes. An oracle; it shares nothing with the other but the constants of the specification.

const [DENOMINATOR, LARGEST, LOW, FIRST] = [2 ** 12, 2 ** 15 - 1, 2 ** 23, 94906266];

/** The first head of a stream. */
export const firstHead = ({ shape, engine }: Tensor): Tensor => full(shape, FIRST, { dtype: "i32", engine });

const floorOf = (x: Tensor, y: Tensor | number): Tensor => x.div(y).floor();

/** The head with bytes moved out, or zeros in, until it lies in [low, 256 · low). */
function settle(head: Tensor, low: Tensor | number): Tensor {
  const isLarge = (x: Tensor): Tensor => floorOf(x, 256).greaterEqual(low);
  const less = (x: Tensor): Tensor => isLarge(x).where(floorOf(x, 256), x);
  const more = (x: Tensor): Tensor => x.less(low).where(x.mul(256), x);
  return more(more(less(less(head))));
}

/** The whole numbers of stream · factor, unrecorded; the head in `memory` moves on. */
export function productByHand(stream: Tensor, factor: Tensor, memory: Pick<StepMemory, "buffer">): Tensor {
  const { engine } = stream;
  const { product, head } = engine.noGrad(() =>
    engine.scope(() => {
      const rounded = factor.detach().cast("f32").cast("f64").mul(DENOMINATOR).round();
      const n = rounded.isNaN().where(1, rounded).maximum(1).minimum(LARGEST);
      const room = settle(memory.buffer.cast("f64"), floorOf(n.fullOf([], LOW), n).mul(n));
      const quotient = floorOf(room, n);
      const whole = stream
        .detach()
        .cast("f64")
        .mul(n)
        .add(room.sub(quotient.mul(n)));
      const value = floorOf(whole, DENOMINATOR);
      const digit = whole.sub(value.mul(DENOMINATOR));
      const pushed = settle(quotient, LOW / DENOMINATOR)
        .mul(DENOMINATOR)
        .add(digit);
      return { product: value.cast(stream.dtype), head: settle(pushed, LOW).cast("i32") };
    }),
  );
  memory.buffer = head;
  return product;
}

/** A stream that has given whole numbers and the gradient of another. */
export function withValue(recorded: Tensor, value: Tensor): Tensor {
  return recorded.add(value.sub(recorded.detach()));
}
