import { formatProgress, type ProgressState } from "./formatProgress.ts";

/** What of a stream is used: `process.stderr` is one. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface ProgressBarOptions {
  /** Not on a terminal: a line at every multiple of so many steps. Default 10. */
  readonly everySteps?: number;
  /** Not on a terminal: a line as well when so much time has passed without one. Default 30 seconds. */
  readonly everyMs?: number;
  /** On a terminal: time between two drawings. Default 100 ms. */
  readonly redrawMs?: number;
  /** A clock in milliseconds. */
  readonly now?: () => number;
}

/**
 * Shows training as it goes on: one line redrawn in place on a terminal, now and then a plain line in a file or a pipe.
 * The time remaining is the mean time of a step of this run, evaluations and checkpoints included, times the steps left.
 */
export class ProgressBar {
  private readonly stream: ProgressStream;
  private readonly options: Required<ProgressBarOptions>;
  private first: { readonly step: number; readonly time: number } | undefined;
  private shown: { readonly step: number; readonly time: number } | undefined;
  private last: ProgressState | undefined;
  /** The line on the terminal, to be cleared before anything else is written. */
  private isDrawn = false;

  constructor(stream: ProgressStream, options: ProgressBarOptions = {}) {
    const { everySteps = 10, everyMs = 30_000, redrawMs = 100, now = () => performance.now() } = options;
    this.stream = stream;
    this.options = { everySteps, everyMs, redrawMs, now };
  }

  /** Call it after every step; it shows what is worth showing. */
  update(state: ProgressState): void {
    const time = this.options.now();
    this.first ??= { step: state.step, time };
    const done = state.step - this.first.step;
    // The first state is after one step of unknown length: there is nothing to reckon with yet.
    const remainingMs = done > 0 ? ((time - this.first.time) / done) * (state.totalSteps - state.step) : undefined;
    this.last = remainingMs === undefined ? state : { remainingMs, ...state };
    if (this.isDue(state, time)) this.show(time);
  }

  /** Writes a line of its own, above the bar on a terminal. */
  log(line: string): void {
    this.clear();
    this.stream.write(`${line}\n`);
    if (this.stream.isTTY && this.last !== undefined) this.draw(this.last);
  }

  /** Shows the last state if it is not shown, and leaves the cursor on a new line. The bar can be used again. */
  finish(): void {
    if (this.last !== undefined && this.shown?.step !== this.last.step) this.show(this.options.now());
    if (this.isDrawn) this.stream.write("\n");
    this.isDrawn = false;
  }

  private isDue({ step, totalSteps }: ProgressState, time: number): boolean {
    if (this.shown === undefined || step >= totalSteps) return true;
    const passed = time - this.shown.time;
    if (this.stream.isTTY) return passed >= this.options.redrawMs;
    return step % this.options.everySteps === 0 || passed >= this.options.everyMs;
  }

  private show(time: number): void {
    if (this.last === undefined) return;
    this.shown = { step: this.last.step, time };
    if (this.stream.isTTY) this.draw(this.last);
    else this.stream.write(`${formatProgress(this.last)}\n`);
  }

  private draw(state: ProgressState): void {
    // The last column stays free: writing to it makes some terminals wrap.
    const width = (this.stream.columns ?? 80) - 1;
    this.clear();
    this.stream.write(formatProgress(state, width));
    this.isDrawn = true;
  }

  private clear(): void {
    if (this.isDrawn) this.stream.write("\r\x1b[2K");
    this.isDrawn = false;
  }
}
