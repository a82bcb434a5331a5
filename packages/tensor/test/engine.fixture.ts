import { CpuBackend } from "@revnet-zero/backend-cpu";
import {
  type DType,
  Engine,
  type EngineOptions,
  randomKey,
  randomNormal,
  type Shape,
  type Tensor,
  tensor,
} from "../src/index.ts";

export const newEngine = (options?: EngineOptions): Engine => new Engine(new CpuBackend(), options);

/** Normal numbers that depend on the seed alone. */
export const random = (engine: Engine, seed: number, shape: Shape, dtype: DType = "f32"): Tensor =>
  randomNormal(shape, { key: randomKey(seed), engine, dtype });

/** A leaf of the given values. */
export const leaf = (engine: Engine, values: Parameters<typeof tensor>[0], dtype: DType = "f32"): Tensor =>
  tensor(values, { engine, dtype }).requireGrad();

export const valuesOf = (t: Tensor | undefined): number[] => [...t!.dataSync()];
