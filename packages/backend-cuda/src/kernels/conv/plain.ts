import { numel } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import type { Convolution, Pass } from "./operands.ts";

/** A thread an element, or of the weight's gradient, which sums over many places, a block. */
export function plainly(device: CudaDevice, pass: Pass, { x, w, y, ...attrs }: Convolution): void {
  const [a, b, to] = pass === "conv2d" ? [x, w, y] : pass === "conv2dInputGradient" ? [y, w, x] : [y, x, w];
  const n = numel(to.shape);
  const kernel = device.kernel({ files: ["convPlain"], types: { T: cTypes[to.dtype] } }, pass);
  const p = device.parameters.start().pointer(addressOf(a)).pointer(addressOf(b)).pointer(addressOf(to)).long(n);
  p.ints([...x.shape, ...w.shape, y.shape[2]!, y.shape[3]!, ...attrs.stride, ...attrs.padding, ...attrs.dilation]);
  if (pass === "conv2dWeightGradient") device.launch(kernel, n);
  else device.launchOver(kernel, n);
}
