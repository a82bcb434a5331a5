import { isFloat, statisticsType } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";

export interface RopeAttrs {
  /** Base of the geometric ladder of wavelengths, usually 10000. */
  readonly base: number;
  /** -1 rotates backwards: the transpose, which is also the gradient. */
  readonly direction: 1 | -1;
}

/**
 * Rotary position embedding of x `[..., time, dim]` at i32 positions `[time]`: coordinates (i, i + dim/2) turn by
 * position · base^(-2i/dim). Angles of 16-bit floats are float32, and the result is rounded once.
 * Source: Su et al. 2021 (arXiv:2104.09864), eq. 34, in the half-split pairing of GPT-NeoX.
 */
export const rope: FusedOp<RopeAttrs> = fused({
  name: "rope",
  arity: 2,
  doc: "rotary position embedding over the last two axes [time, dim]",
  meta: (inputs) => {
    const [x, positions] = inputs as [Meta, Meta];
    const [time, dim] = x.shape.slice(-2);
    if (x.shape.length < 2 || dim! % 2 !== 0)
      throw new ShapeError("rope", `needs [..., time, even dim], got ${describe(x)}`, "use an even head size");
    if (!isFloat(x.dtype) || positions.dtype !== "i32")
      throw new DTypeError(
        "rope",
        `needs a float tensor and i32 positions, got ${describeAll(inputs)}`,
        'positions: x.rangeOf(time, "i32")',
      );
    if (positions.shape.length !== 1 || positions.shape[0] !== time)
      throw new ShapeError(
        "rope",
        `positions ${describe(positions)} do not fit ${describe(x)}`,
        "one position per time step",
      );
    return [x];
  },
  flops: ([x]) => 6 * numel(x!.shape),
  decompose: ([given, positions], { base, direction }) => {
    const x = given!.cast(statisticsType(given!.dtype));
    const half = x.shape[x.shape.length - 1]! / 2;
    const frequency = x
      .rangeOf(half)
      .mul(-Math.log(base) / half)
      .exp();
    const angle = positions!.cast(x.dtype).unsqueeze(1).mul(frequency); // [time, dim / 2]
    const [c, s] = [angle.cos(), angle.sin().mul(direction)];
    const [a, b] = [x.narrow(-1, 0, half), x.narrow(-1, half, half)];
    return [
      a
        .mul(c)
        .sub(b.mul(s))
        .concat([b.mul(c).add(a.mul(s))], -1)
        .cast(given!.dtype),
    ];
  },
  gradient: {
    saves: () => ({ inputs: [1] }),
    vjp: ({ gradient, input }, { base, direction }) => [
      gradient.apply(rope, [gradient, input(1)], { base, direction: direction === 1 ? -1 : 1 }),
    ],
  },
});
