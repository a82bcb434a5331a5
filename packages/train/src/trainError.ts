import { RevNetError } from "@revnet-zero/tensor";

/** A run that cannot go on: at which step, and where what can be continued lies. */
export class TrainError extends RevNetError {
  override name = "TrainError";
  readonly step: number;
  constructor(step: number, problem: string, hint: string, options?: ErrorOptions) {
    super("train", `step ${step}: ${problem}`, hint, options);
    this.step = step;
  }
}
