import { BackendError, readEnvironment } from "@revnet-zero/tensor";
import { codeOf, type NativeCuda } from "./binding.ts";

const hints: Readonly<Record<string, string>> = {
  LIBRARY: "install NVIDIA's driver (nvidia-smi then shows the GPU), or name its library by REVNET_CUDA_DRIVER",
  CUDA_ERROR_NO_DEVICE: "there is a driver but no GPU: see what nvidia-smi and CUDA_VISIBLE_DEVICES say",
};

/** Opens the driver's library; gives the CUDA version it supports, 13000 for 13.0. The error says what is missing. */
export function openDriver(addon: NativeCuda): number {
  const path = readEnvironment("REVNET_CUDA_DRIVER") || "libcuda.so.1";
  try {
    return addon.openDriver(path);
  } catch (error) {
    const hint = hints[codeOf(error)] ?? "see whether nvidia-smi works";
    throw new BackendError("cuda", (error as Error).message, hint, { cause: error });
  }
}
