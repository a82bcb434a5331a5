import { BackendError, RevNetError } from "@revnet-zero/tensor";
import { codeOf } from "./binding.ts";

/** What helps where memory runs out. */
export const SHORTER = "make the batch or the sequence shorter";

export const isOutOfMemory = (error: unknown): boolean => codeOf(error) === "CUDA_ERROR_OUT_OF_MEMORY";

/** The driver's failure as the backend's. After a fault in a kernel no call on the device works any more. */
export function deviceError(error: unknown): RevNetError {
  if (error instanceof RevNetError) return error;
  const code = codeOf(error);
  return new BackendError("cuda", `${(error as Error).message} (${code})`, hintFor(error, code), { cause: error });
}

function hintFor(error: unknown, code: string): string {
  if (/ILLEGAL|LAUNCH_FAILED|MISALIGNED|ASSERT|ECC|DEVICE_LOST|HARDWARE/.test(code))
    return "the device is lost to this process: start it again, from the last checkpoint";
  return isOutOfMemory(error) ? SHORTER : "see what is missing: revnet-zero info";
}
