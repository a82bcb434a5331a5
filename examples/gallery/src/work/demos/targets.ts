import { type Key, philox4x32 } from "@revnet-zero/tensor";

type Point = readonly [x: number, y: number];
/** A distribution of points in the plane, about [-2, 2] wide: one point from uniform numbers, as many as it takes. */
type Draw = (uniform: () => number) => Point;

const TURN = 2 * Math.PI;

/** A point beside another, normally distributed (Box-Muller). */
function near(x: number, y: number, spread: number, uniform: () => number): Point {
  const [radius, angle] = [spread * Math.sqrt(-2 * Math.log(1 - uniform())), TURN * uniform()];
  return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
}

/** What a flow can be shown, by name. */
export const targets = {
  moons: (uniform) => {
    const [side, angle] = [uniform() < 0.5 ? 1 : -1, Math.PI * uniform()];
    return near(side * (Math.cos(angle) - 0.5), side * (Math.sin(angle) - 0.25), 0.08, uniform);
  },
  spiral: (uniform) => {
    const along = Math.sqrt(0.04 + 0.96 * uniform());
    const angle = 1.5 * TURN * along + (uniform() < 0.5 ? 0 : Math.PI);
    return near(1.8 * along * Math.cos(angle), 1.8 * along * Math.sin(angle), 0.06, uniform);
  },
  rings: (uniform) => {
    const [radius, angle] = [uniform() < 0.3 ? 0.6 : 1.6, TURN * uniform()];
    return near(radius * Math.cos(angle), radius * Math.sin(angle), 0.08, uniform);
  },
  whale: (uniform) => {
    for (;;) {
      const [x, y] = [4 * uniform() - 2, 4 * uniform() - 2];
      if (isInside(whale, x, y)) return near(x, y, 0.02, uniform);
    }
  },
} as const satisfies Record<string, Draw>;

export type TargetName = keyof typeof targets;

/** n points as [n, 2], row by row; the same for the same key. */
export function drawPoints(target: TargetName, n: number, key: Key): Float32Array {
  const points = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    let [words, drawn]: [ArrayLike<number>, number] = [[], 0];
    const uniform = (): number => {
      if (drawn % 4 === 0) words = philox4x32([i, drawn / 4, 0, 0], key);
      return (words[drawn++ % 4]! >>> 0) / 2 ** 32;
    };
    points.set(targets[target](uniform), 2 * i);
  }
  return points;
}

/** The outline of a whale, from its mouth along the belly to the flukes and back. */
// biome-ignore format: points side by side
const whale: readonly Point[] = [
  [-1.95, 0.1], [-1.9, -0.35], [-1.65, -0.7], [-1.2, -0.9], [-0.6, -0.92], [-0.1, -0.8], [0.35, -0.55], [0.8, -0.25],
  [1.15, 0.1], [1.35, 0.42], [1.7, 0.36], [1.95, 0.6], [1.98, 0.85], [1.7, 0.74], [1.38, 0.78], [1.22, 1.05], [0.92, 1.3],
  [0.78, 1.1], [0.92, 0.8], [1.05, 0.58], [0.85, 0.4], [0.45, 0.3], [-0.1, 0.42], [-0.7, 0.6], [-1.3, 0.58], [-1.75, 0.38],
];

/** Whether a ray from the point to the right crosses the outline an odd number of times. */
function isInside(outline: readonly Point[], x: number, y: number): boolean {
  let isIn = false;
  outline.forEach(([ax, ay], i) => {
    const [bx, by] = outline[(i + 1) % outline.length]!;
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) isIn = !isIn;
  });
  return isIn;
}
