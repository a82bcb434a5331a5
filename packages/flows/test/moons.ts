import { type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import { engine } from "./fixtures.ts";

/** Two half circles, interlaced, with normal noise: n points of the plane, `[n, 2]` f32. */
export function moons(n: number, seed: number): Tensor {
  const random = new Random(seed);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.unit())) * Math.cos(2 * Math.PI * random.unit());
  const points = Array.from({ length: n }, () => {
    const [t, side] = [random.between(0, Math.PI), random.unit() < 0.5 ? 1 : -1];
    return [side * (Math.cos(t) - 0.5) + 0.1 * normal(), side * (Math.sin(t) - 0.25) + 0.1 * normal()];
  });
  return tensor(points, { engine });
}
