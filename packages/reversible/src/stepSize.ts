import { type Tensor, ValueError } from "@revnet-zero/tensor";

export interface StepSizeOptions {
  /** Time of the solution. Default 1. */
  readonly duration?: number;
  /** Error of a step that is let pass, in units of 1 + |x|, root mean square. Default 1e-3. */
  readonly tolerance?: number;
  /** Steps at most: the last ones are then as long as it takes. Default 64. */
  readonly maxSteps?: number;
}

/**
 * Step sizes for x' = f(x, t) from x over `duration`, so that the estimated error of each step, h/2 |f(z') - f(z)|, what Heun's method adds to
 * Euler's, is within the tolerance. Sizes are the duration over powers of two, and begin at multiples of themselves: few different lists,
 * and times that add up exactly. A step is halved until it passes; after one with a fourth of the tolerance the next is twice as long.
 * Source: Hairer, Nørsett and Wanner 1993, section II.4, for the estimate and for control by the last step.
 */
export function chooseSteps(f: (x: Tensor, t: number) => Tensor, x: Tensor, options: StepSizeOptions): number[] {
  const { duration = 1, tolerance = 1e-3, maxSteps = 64 } = options;
  if (!(duration > 0 && tolerance > 0 && Number.isInteger(maxSteps) && maxSteps > 0)) {
    throw new ValueError(
      "ContinuousDepthBlock",
      `duration is ${duration}, tolerance ${tolerance}, maxSteps ${maxSteps}`,
      "use positive numbers",
    );
  }
  const { engine } = x;
  // In units of the smallest step: maxSteps of them and no more.
  const finest = Math.ceil(Math.log2(maxSteps));
  const whole = 2 ** finest;
  const sizes: number[] = [];
  let state = { y: x, z: x, slope: f(x, 0) };
  let [at, size] = [0, whole];
  while (at < whole) {
    const h = (duration * size) / whole;
    const { error, ...next } = engine.scope(() => {
      const z = state.y.mul(2).sub(state.z).add(state.slope.mul(h));
      const slope = f(z, (duration * (at + size)) / whole);
      const y = state.y.add(state.slope.add(slope).mul(h / 2));
      const off = slope
        .sub(state.slope)
        .mul(h / 2)
        .div(state.y.abs().add(1));
      return { y, z, slope, error: off.square().mean().sqrt() };
    });
    const found = error.itemSync();
    const passes = found <= tolerance || size === 1;
    for (const t of Object.values(passes ? state : next)) if (t !== x) t.dispose();
    if (!passes) {
      size /= 2;
      continue;
    }
    sizes.push(h);
    at += size;
    state = next;
    // Twice as long only where a step of that length may begin. The estimate grows as the square.
    if (found <= tolerance / 4 && 2 * size <= whole && at % (2 * size) === 0) size *= 2;
  }
  return sizes;
}
