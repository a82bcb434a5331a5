import { readEnvironment } from "@revnet-zero/tensor";

/** The driver's library: a name that the dynamic linker finds, or the file that REVNET_CUDA_DRIVER names. */
export const driverPath = (): string => readEnvironment("REVNET_CUDA_DRIVER") || "libcuda.so.1";
