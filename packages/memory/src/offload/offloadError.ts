import { RevNetError } from "@revnet-zero/tensor";

/** What was offloaded cannot be written or read: the disk is full, the file's bound is reached, or its device fails. */
export class OffloadError extends RevNetError {
  override name = "OffloadError";
}
