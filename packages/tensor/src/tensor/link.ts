import type { Edge } from "../autograd/node.ts";
import type { DType } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import type { Layout } from "../layout.ts";
import type { Storage } from "../memory/storage.ts";
import type { Tensor } from "./tensor.ts";

/** A new handle. It takes over one reference to `storage`. */
export interface TensorInit {
  readonly engine: Engine;
  readonly storage: Storage;
  readonly layout: Layout;
  readonly dtype: DType;
  readonly edge?: Edge;
  /** False: no scope owns the handle; whoever made it disposes it. */
  readonly isScoped?: boolean;
}

/**
 * The constructor of Tensor, which the layers below it need and must not import (the class is built upon them).
 * Filled once, when tensor.ts is loaded.
 */
let construct: (init: TensorInit) => Tensor = () => {
  throw new Error("tensor.ts is not loaded");
};
export const makeTensor = (init: TensorInit): Tensor => construct(init);
export function linkTensor(make: (init: TensorInit) => Tensor): void {
  construct = make;
}
