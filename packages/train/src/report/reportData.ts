import type { ChartPoint } from "@revnet-zero/plot";

/** Everything a report shows. Plain data: it is stored in the page as JSON too, for programs to read. */
export interface ReportData {
  readonly title: string;
  /** When it was made, as it is to be shown. */
  readonly createdAt?: string;
  readonly run: RunFigures;
  readonly loss: LossCurves;
  readonly memory?: MemoryCurves;
  readonly exactness?: ExactnessProof;
  readonly sample?: TextSample;
  /** Sections of keys and values, as `TrainConfig` has. */
  readonly config: object;
  /** What it ran on: names to values, in order. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface RunFigures {
  readonly steps: number;
  readonly durationMs: number;
  readonly tokensPerSecond: number;
  /** Numbers trained. */
  readonly parameters: number;
  /** Highest sum of live tensor bytes. */
  readonly peakBytes: number;
}

/** All in bits per byte of text; x is the optimizer step. */
export interface LossCurves {
  readonly train: readonly ChartPoint[];
  readonly heldOut: readonly ChartPoint[];
  /** Cross-entropy of the held-out text under the byte frequencies of the training text. */
  readonly unigramBits?: number;
  /** The same given the byte before: under the pair frequencies of the training text. What a model must beat. */
  readonly bigramBits?: number;
}

/** Peak activation memory of one training step of otherwise equal networks. */
export interface MemoryCurves {
  readonly points: readonly {
    readonly depth: number;
    readonly storedBytes: number;
    readonly reversibleBytes: number;
  }[];
  /** What was measured, and how, in a sentence. */
  readonly note?: string;
}

export interface ExactnessProof {
  readonly rows: readonly ExactnessRow[];
  /** What was compared, and how, in a sentence. */
  readonly note?: string;
}

export interface ExactnessRow {
  /** Which network: `6 blocks, dropout 0.1`. */
  readonly name: string;
  readonly isReconstructionBitEqual: boolean;
  readonly isGradientBitEqual: boolean;
  /** Numbers compared bit by bit. */
  readonly elementsCompared: number;
}

export interface TextSample {
  readonly prompt: string;
  /** What the model wrote after it. */
  readonly text: string;
  /** How it was drawn: `step 1000, temperature 0.8`. */
  readonly note?: string;
}
