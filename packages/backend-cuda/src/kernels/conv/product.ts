import { dtypes } from "@revnet-zero/tensor";
import type { CudaDevice, CudaView } from "../../device/device.ts";
import { sumColumns } from "../columns.ts";
import { multiply } from "../matmul.ts";
import { transposed } from "../rowViews.ts";
import type { Convolution, Four, Pass } from "./operands.ts";

/** Images whose products are added up in one pass. */
const MOST_IMAGES = 1024;

/** Images as matrices [image, channel, pixel]. */
function planes(of: CudaView): CudaView {
  const [images, channels, height, width] = of.shape as Four;
  const pixels = height * width;
  return { ...of, shape: [images, channels, pixels], strides: [channels * pixels, pixels, 1] };
}

/** A convolution of one place is a product of matrices, by image: false, and nothing is done, where it is none. */
export function byProduct(device: CudaDevice, pass: Pass, one: Convolution): boolean {
  const { w, stride, padding, groups } = one;
  const [out, channels, kh, kw] = w.shape as Four;
  const [x, y] = [planes(one.x), planes(one.y)];
  const images = x.shape[0]!;
  const isPointwise = kh * kw === 1 && groups === 1 && stride.every((s) => s === 1) && padding.every((v) => v === 0);
  if (!isPointwise || images > MOST_IMAGES) return false;
  const weight = { ...w, shape: [out, channels], strides: [channels, 1] };
  if (pass === "conv2d") return multiply(device, weight, x, y);
  if (pass === "conv2dInputGradient") return multiply(device, transposed(weight), y, x);
  const length = out * channels;
  const bytes = images * length * dtypes.f32.bytes;
  return device.withWorkspace(bytes, (address) => {
    const product = {
      ...weight,
      dtype: "f32",
      shape: [images, out, channels],
      strides: [length, channels, 1],
    } as const;
    multiply(device, y, transposed(x), { ...product, data: { address, bytes }, offset: 0 });
    sumColumns(device, { dtype: "f32", address, rows: images, length }, "f32", w);
    return true;
  });
}
