import type { Module } from "@revnet-zero/nn";
import type { BytesByCategory } from "@revnet-zero/tensor";
import { chromeTrace } from "./chromeTrace.ts";
import { profileHtml } from "./profileHtml.ts";
import { profileText } from "./profileText.ts";
import { type Reason, reasonsFor } from "./reasons.ts";
import type { Recording, StepPhase } from "./recording.ts";
import { bytesAt, type LiveTensor, liveAt, outerPath, type Usage, usageBy, usageByPhase } from "./tables.ts";
import { timelineSvg } from "./timelineSvg.ts";

/** What a step did with memory and time. Plain data inside: it holds no tensors. */
export class MemoryProfile {
  /** All that was seen, in order. */
  readonly recording: Recording;
  /** Place of the peak among the recording's changes. */
  readonly peak: number;
  readonly peakBytes: number;
  /** What the peak consists of. */
  readonly atPeak: BytesByCategory;
  /** Peak less parameters, gradients and optimizer state at that instant. */
  readonly activationBytes: number;
  /** Milliseconds from the beginning to the peak, and to the end. */
  readonly peakMs: number;
  readonly timeMs: number;
  readonly peakPhase: StepPhase;
  /** Why memory did not go down: what was alive at the peak, the largest group first. */
  readonly reasons: readonly Reason[];

  constructor(recording: Recording, model?: Module) {
    const totals = recording.changes.map(({ bytes }) => bytes.reduce((a, b) => a + b, 0));
    const peak = totals.reduce((best, total, i) => (total > totals[best]! ? i : best), 0);
    this.recording = recording;
    this.peak = peak;
    this.peakBytes = totals[peak]!;
    this.atPeak = bytesAt(recording, peak);
    const { parameters, gradients, optimizer } = this.atPeak;
    this.activationBytes = this.peakBytes - parameters - gradients - optimizer;
    this.peakMs = recording.changes[peak]!.timeMs;
    this.peakPhase = recording.changes[peak]!.phase;
    this.timeMs = recording.timeMs;
    this.reasons = reasonsFor(recording, peak, model);
  }

  /** Bytes and time by module; `depth` joins modules that have so many parts of their path in common. Default: each by itself. */
  byModule({ depth = Number.POSITIVE_INFINITY }: { readonly depth?: number } = {}): Usage[] {
    return usageBy(this.recording, this.peak, ({ module }) => outerPath(module, depth));
  }

  /** Bytes and time by op; "" is what was made outside of ops (inputs, constants). */
  byOp(): Usage[] {
    return usageBy(this.recording, this.peak, ({ op }) => op);
  }

  /** Bytes and time of forward, backward, recomputation and update. */
  byPhase(): Usage[] {
    return usageByPhase(this.recording, this.peak);
  }

  /** The largest tensors alive at the peak, with where they were made. */
  largest(most = 10): LiveTensor[] {
    return liveAt(this.recording, this.peak).slice(0, most);
  }

  /** Bytes by category over time, with the peak and the phases, as a picture that stands alone. `budget` draws a line. */
  timelineSvg(options: { readonly title?: string; readonly budget?: number } = {}): string {
    return timelineSvg(this, options);
  }

  /** A page with the timeline and all tables: no script, no external file. */
  toHtml(options: { readonly title?: string; readonly budget?: number } = {}): string {
    return profileHtml(this, options);
  }

  /** Events for chrome://tracing and ui.perfetto.dev, as JSON. */
  toChromeTrace(): string {
    return chromeTrace(this.recording, this.peak);
  }

  /** The tables as text. */
  toString(): string {
    return profileText(this);
  }
}
