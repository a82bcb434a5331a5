import type { Tensor } from "@revnet-zero/tensor";
import { Module } from "./module.ts";

/** A module from one tensor to one tensor. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/** Layers one after another. What lies between two layers is freed as soon as the second has run. */
export class Sequential extends Module {
  readonly layers: readonly Layer[];

  constructor(...layers: readonly Layer[]) {
    super();
    this.layers = layers;
  }

  override forward(x: Tensor): Tensor {
    let current = x;
    for (const layer of this.layers) {
      const next: Tensor = layer.call(current);
      // A layer may hand its input on (dropout in eval): that one is not ours to free.
      if (current !== x && next !== current) current.dispose();
      current = next;
    }
    return current;
  }
}
