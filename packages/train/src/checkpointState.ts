import type { GradScalerState } from "@revnet-zero/optim";
import { ValueError } from "@revnet-zero/tensor";
import type { TextMark } from "./textMark.ts";

/** What a run must be given back, beside tensors and configuration, to go on as if it had never stopped. */
export interface TrainerState {
  /** 1; a later layout of this file has a higher number. */
  readonly format: 1;
  /** Optimizer steps done; the next batch and the next keys are those of this number. */
  readonly step: number;
  /** Micro-batches of that step already done: always 0, since checkpoints lie between steps. */
  readonly microStep: number;
  readonly seed: number;
  /** Bits after the point of the fixed-point streams. */
  readonly fractionBits: number;
  /** How the backend rounds and orders sums (`Backend.arithmetic`): other arithmetic, other bits. */
  readonly arithmetic: string;
  /** Batches are places in the text drawn by seed and step: another text, another run. */
  readonly text: TextMark;
  readonly optimizer: {
    readonly algorithm: string;
    readonly step: number;
    readonly updates: Readonly<Record<string, number>>;
  };
  /** Of a run in float16. */
  readonly scaler?: GradScalerState;
  /** Sums over all steps: what the streams did that is reported, never silent. */
  readonly counters: { readonly saturated: number; readonly wrapped: number };
  readonly history: History;
  /** Set where a signal left out this step's evaluation: the run that goes on begins with it. */
  readonly isEvaluationDue?: true;
}

/** The curves so far: [steps done, nats per byte]. */
export interface History {
  readonly train: [number, number][];
  readonly heldOut: [number, number][];
}

/** Checks that a value read from a file is a trainer's state. */
export function checkState(value: unknown): TrainerState {
  const state = value as Partial<TrainerState> | null;
  const isState =
    typeof state === "object" &&
    state !== null &&
    state.format === 1 &&
    Number.isSafeInteger(state.step) &&
    typeof state.text?.fnv1a === "string" &&
    typeof state.optimizer?.algorithm === "string" &&
    typeof state.optimizer.updates === "object" &&
    Array.isArray(state.history?.train) &&
    Array.isArray(state.history.heldOut);
  if (isState) return state as TrainerState;
  throw new ValueError(
    "checkpoint",
    "trainer.json does not hold a trainer's state",
    "it was written by another program or a newer version",
  );
}
