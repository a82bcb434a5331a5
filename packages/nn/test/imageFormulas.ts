// The image layers' formulas written out in float64, from the papers: independent of the engine.
import { type Matrix, mean, type Vector } from "./formulas.ts";

export interface ImageShape {
  readonly batch: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Every element of images and its place. */
function* places({
  batch,
  channels,
  height,
  width,
}: ImageShape): Generator<readonly [n: number, c: number, at: number]> {
  for (let n = 0; n < batch; n++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < height * width; i++) yield [n, c, (n * channels + c) * height * width + i];
}

export function conv2d(
  x: Vector,
  { batch, channels, height, width }: ImageShape,
  kernels: Matrix,
  bias: Vector | undefined,
  { kernelSize, stride, padding }: { readonly kernelSize: number; readonly stride: number; readonly padding: number },
): number[] {
  const pixel = (n: number, c: number, y: number, z: number): number =>
    y < 0 || z < 0 || y >= height || z >= width ? 0 : x[((n * channels + c) * height + y) * width + z]!;
  const steps = (side: number): number => Math.floor((side + 2 * padding - kernelSize) / stride) + 1;
  const out: number[] = [];
  for (let n = 0; n < batch; n++)
    kernels.forEach((kernel, o) => {
      for (let row = 0; row < steps(height); row++)
        for (let column = 0; column < steps(width); column++) {
          const sum = kernel.reduce((total, weight, i) => {
            const [c, a, b] = [
              Math.floor(i / kernelSize ** 2),
              Math.floor(i / kernelSize) % kernelSize,
              i % kernelSize,
            ];
            return total + weight * pixel(n, c, row * stride + a - padding, column * stride + b - padding);
          }, bias?.[o] ?? 0);
          out.push(sum);
        }
    });
  return out;
}

/** Standardises all elements that have one name, then scales and shifts by channel. */
function normalise(
  x: Vector,
  shape: ImageShape,
  nameOf: (n: number, c: number) => string,
  [weight, bias, eps]: readonly [Vector, Vector, number],
): number[] {
  const sets = new Map<string, number[]>();
  for (const [n, c, at] of places(shape)) {
    const name = nameOf(n, c);
    if (!sets.has(name)) sets.set(name, []);
    sets.get(name)!.push(x[at]!);
  }
  const out: number[] = [];
  for (const [n, c, at] of places(shape)) {
    const set = sets.get(nameOf(n, c))!;
    const m = mean(set);
    const sigma = Math.sqrt(mean(set.map((v) => (v - m) ** 2)) + eps);
    out.push(((x[at]! - m) / sigma) * weight[c]! + bias[c]!);
  }
  return out;
}

export const groupNorm = (
  x: Vector,
  shape: ImageShape,
  weight: Vector,
  bias: Vector,
  groups: number,
  eps: number,
): number[] => normalise(x, shape, (n, c) => `${n} ${Math.floor((c * groups) / shape.channels)}`, [weight, bias, eps]);

export const batchNorm = (x: Vector, shape: ImageShape, weight: Vector, bias: Vector, eps: number): number[] =>
  normalise(x, shape, (_, c) => String(c), [weight, bias, eps]);
