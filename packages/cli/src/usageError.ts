import { RevNetError } from "@revnet-zero/tensor";

/** A command line that cannot be carried out; the person at the keyboard can fix it. */
export class UsageError extends RevNetError {
  override name = "UsageError";
}
