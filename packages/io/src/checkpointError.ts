import { RevNetError } from "@revnet-zero/tensor";

/** A checkpoint file that cannot be written, read or trusted. `file` says which one, `problem` what is wrong with it. */
export class CheckpointError extends RevNetError {
  override name = "CheckpointError";
  readonly file: string;
  readonly problem: string;
  constructor(op: string, file: string, problem: string, hint: string, options?: ErrorOptions) {
    super(op, `${file}: ${problem}`, hint, options);
    this.file = file;
    this.problem = problem;
  }
}
