import { RevNetError } from "@revnet-zero/tensor";

/** A text that cannot be read, or is too short for what is asked of it. The caller can fix it: another file, other sizes. */
export class DataError extends RevNetError {
  override name = "DataError";
}
