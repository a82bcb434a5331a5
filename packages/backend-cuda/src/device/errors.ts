import { BackendError, RevNetError } from "@revnet-zero/tensor";
import { codeOf } from "./binding.ts";

/** The driver's failure as the backend's. After a fault in a kernel no call on the device works any more. */
export function deviceError(error: unknown): RevNetError {
  if (error instanceof RevNetError) return error;
  const code = codeOf(error);
  const isLost = /ILLEGAL|LAUNCH_FAILED|MISALIGNED|ASSERT|ECC|DEVICE_LOST|HARDWARE/.test(code);
  const hint = isLost
    ? "the device is lost to this process: start it again, from the last checkpoint"
    : "see what is missing: revnet-zero info";
  return new BackendError("cuda", `${(error as Error).message} (${code})`, hint, { cause: error });
}
