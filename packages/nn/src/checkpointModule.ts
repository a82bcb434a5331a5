import { checkpoint, type Tensor } from "@revnet-zero/tensor";
import type { Module } from "./module.ts";

/**
 * `module.call(x)` with only x stored: backward runs the module again, with the train flags it has now.
 * Source: Chen et al. 2016 (arXiv:1604.06174).
 */
export function checkpointModule(module: Module & { forward(x: Tensor): Tensor }, x: Tensor): Tensor {
  const again = module.captureModes();
  return checkpoint((input) => again(() => module.call(input)), x);
}
