import type { Tensor } from "@revnet-zero/tensor";
import type { ReversibleSequence } from "../sequence.ts";
import { type CheckOptions, compareReversible, type ReversibilityReport } from "./check.ts";
import { type ReversibilitySurvey, type SurveyOptions, surveyReversible } from "./survey.ts";

export type { CheckOptions, ReversibilityReport } from "./check.ts";
export { BitComparison, compareGradients, takeGradients } from "./compare.ts";
export {
  type InputKind,
  type PropertyLibrary,
  ReversibilitySurvey,
  reversibleProperty,
  type SurveyedCase,
  type SurveyOptions,
} from "./survey.ts";

/**
 * Whether a sequence comes back as it was and has the gradients of stored backpropagation: on drawn inputs, ordinary and
 * extreme ones (a survey, readable as text), or on inputs and cotangents of one's own (a report).
 */
export function checkReversible(sequence: ReversibleSequence, options: SurveyOptions): Promise<ReversibilitySurvey>;
export function checkReversible(
  sequence: ReversibleSequence,
  inputs: readonly Tensor[],
  cotangents: readonly Tensor[],
  options?: CheckOptions,
): Promise<ReversibilityReport>;
export function checkReversible(
  sequence: ReversibleSequence,
  first: SurveyOptions | readonly Tensor[],
  cotangents: readonly Tensor[] = [],
  options: CheckOptions = {},
): Promise<ReversibilitySurvey | ReversibilityReport> {
  return "shape" in first ? surveyReversible(sequence, first) : compareReversible(sequence, first, cotangents, options);
}
