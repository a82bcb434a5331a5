import type { CudaDevice } from "../device/device.ts";
import type { ElementwiseRunner } from "../elementwise/run.ts";

/** What every kernel works with. */
export interface Context {
  readonly device: CudaDevice;
  readonly elementwise: ElementwiseRunner;
}
