import { arange, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import type { NormalizingFlow } from "../src/index.ts";
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

/** The integral of a density of the plane over a square around 0, by the midpoint rule. */
export function massOf(flow: NormalizingFlow, cells: number, side: number): number {
  return engine.scope(() => {
    const middles = arange(cells, { dtype: "f32", engine })
      .add(0.5)
      .mul(side / cells)
      .sub(side / 2);
    const grid = [middles.unsqueeze(1), middles.unsqueeze(0)].map((t) => t.expand([cells, cells]).reshape([-1, 1]));
    const logProbability = engine.noGrad(() => flow.logProbability(grid[0]!.concat([grid[1]!], 1)));
    return logProbability.cast("f64").exp().sum().itemSync() * (side / cells) ** 2;
  });
}
