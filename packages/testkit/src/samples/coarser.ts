import { allDTypes, type DType } from "@revnet-zero/tensor";

/** Whether an op that mixes float types has one below this: bf16 under f32, on devices with both. */
export const hasCoarser = (dtype: DType, device: readonly DType[] = allDTypes): boolean =>
  dtype === "f32" && device.includes("bf16");
