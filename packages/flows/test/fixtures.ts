import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type DType, Engine, type HostData, numel, type Shape, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, Random } from "@revnet-zero/testkit";

export const engine = new Engine(new CpuBackend());

/** Floats in [-2, 2), the same for the same seed. */
export function floats(shape: Shape, seed: number, dtype: DType = "f64"): Tensor {
  const random = new Random(seed);
  return tensor(
    Float64Array.from({ length: numel(shape) }, () => random.between(-2, 2)),
    { shape, dtype, engine },
  );
}

/** Any 32-bit words. */
export function words(shape: Shape, seed: number): Tensor {
  const random = new Random(seed);
  return tensor(
    Int32Array.from({ length: numel(shape) }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
    { shape, engine },
  );
}

/** Throws unless both hold the same bits. */
export function expectSame(found: Tensor, expected: Tensor, what: string): void {
  expectBitEqual(found.dataSync(), expected.dataSync(), what);
}

export const isFound = (values: HostData | undefined): values is HostData => values !== undefined;
