import { philox4x32 } from "@revnet-zero/tensor";
import { DataError } from "./dataError.ts";

/** What a language model is trained on at one micro-step; row-major. */
export interface ByteBatch {
  /** Bytes, [batchSize, sequenceLength]. */
  readonly inputs: Int32Array;
  /** The byte that follows each input, [batchSize, sequenceLength]. */
  readonly targets: Int32Array;
  readonly batchSize: number;
  readonly sequenceLength: number;
}

export interface ByteDatasetOptions {
  /** Sequences in a batch. */
  readonly batchSize: number;
  /** Bytes in a sequence. */
  readonly sequenceLength: number;
  /** Integer of up to 53 bits; with the step and micro-step it decides every training batch. */
  readonly seed: number;
  /** Share of the text, taken from its end, that training never sees: 0 (none) to below 1. Default 0.1. */
  readonly heldOutFraction?: number;
}

/** Last word of the generator's counter: keeps this stream apart from every other one with the same key ("data"). */
const stream = 0x64617461;

/**
 * Random windows of a text for training, and its last part for evaluation.
 *
 * There is no position to save: a training batch is a pure function of (seed, step, microStep), so a resumed run reads
 * exactly what the uninterrupted one would have.
 *
 * ```ts
 * import { ByteDataset, encodeBytes } from "@revnet-zero/data";
 * const text = encodeBytes("Call me Ishmael. ".repeat(100));
 * const data = new ByteDataset(text, { batchSize: 4, sequenceLength: 32, seed: 1 });
 * const { inputs, targets } = data.batchAt(0);
 * inputs.length; // => 128
 * targets[0] === inputs[1]; // => true
 * ```
 */
export class ByteDataset {
  /** The first part of the text, a view. */
  readonly train: Uint8Array;
  /** The last part of the text, a view; the two do not overlap. */
  readonly heldOut: Uint8Array;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly seed: number;

  /** @throws DataError if a size is out of range or a part is shorter than one sequence and its next byte. */
  constructor(bytes: Uint8Array, options: ByteDatasetOptions) {
    const { batchSize, sequenceLength, seed, heldOutFraction = 0.1 } = options;
    checkInteger("batchSize", batchSize, 1);
    checkInteger("sequenceLength", sequenceLength, 1);
    checkInteger("seed", seed, 0);
    if (!(heldOutFraction >= 0 && heldOutFraction < 1)) {
      throw new DataError(
        "ByteDataset",
        `heldOutFraction is ${heldOutFraction}`,
        "give a share from 0 to below 1, say 0.1",
      );
    }
    const heldOutLength = Math.round(bytes.length * heldOutFraction);
    this.train = bytes.subarray(0, bytes.length - heldOutLength);
    this.heldOut = bytes.subarray(bytes.length - heldOutLength);
    this.batchSize = batchSize;
    this.sequenceLength = sequenceLength;
    this.seed = seed;
    checkLength("training", this.train.length, sequenceLength);
    if (heldOutFraction > 0) checkLength("held-out", this.heldOut.length, sequenceLength);
  }

  /** Windows of the training part at independent, uniformly drawn places (with replacement). */
  batchAt(step: number, microStep = 0): ByteBatch {
    checkInteger("step", step, 0);
    checkInteger("microStep", microStep, 0);
    const places = this.train.length - this.sequenceLength;
    const key = [this.seed >>> 0, Math.floor(this.seed / 2 ** 32) >>> 0] as const;
    return this.gather(this.train, this.batchSize, (row) => {
      const [high, low] = philox4x32([row, step >>> 0, microStep >>> 0, stream], key);
      // 53 random bits in [0, 1): the bias of the product is below places / 2^53.
      return Math.floor((((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53) * places);
    });
  }

  /** Windows in the held-out part: how many times a whole sequence and its next byte fit one after another. */
  get heldOutWindows(): number {
    return Math.max(0, Math.floor((this.heldOut.length - 1) / this.sequenceLength));
  }

  /**
   * The held-out part from its beginning in windows that do not overlap, so each byte is predicted at most once; always
   * the same. The last batch has fewer rows when the windows do not fill it. Empty if `heldOutFraction` is 0.
   *
   * @param maxBatches stop after so many batches; default all.
   */
  *heldOutBatches(maxBatches: number = Number.POSITIVE_INFINITY): Generator<ByteBatch, void, undefined> {
    const windows = this.heldOutWindows;
    for (let batch = 0; batch < maxBatches && batch * this.batchSize < windows; batch++) {
      const first = batch * this.batchSize;
      const rows = Math.min(this.batchSize, windows - first);
      yield this.gather(this.heldOut, rows, (row) => (first + row) * this.sequenceLength);
    }
  }

  private gather(part: Uint8Array, batchSize: number, startOf: (row: number) => number): ByteBatch {
    const { sequenceLength } = this;
    const inputs = new Int32Array(batchSize * sequenceLength);
    const targets = new Int32Array(batchSize * sequenceLength);
    for (let row = 0; row < batchSize; row++) {
      const start = startOf(row);
      inputs.set(part.subarray(start, start + sequenceLength), row * sequenceLength);
      targets.set(part.subarray(start + 1, start + 1 + sequenceLength), row * sequenceLength);
    }
    return { inputs, targets, batchSize, sequenceLength };
  }
}

function checkInteger(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new DataError("ByteDataset", `${name} is ${value}`, `give a whole number of at least ${least}`);
}

function checkLength(part: string, bytes: number, sequenceLength: number): void {
  if (bytes > sequenceLength) return;
  throw new DataError(
    "ByteDataset",
    `the ${part} part has ${bytes} bytes, and a sequence needs ${sequenceLength + 1} (sequenceLength and the next byte)`,
    bytes > 1 ? `use a longer text, or a sequenceLength of at most ${bytes - 1}` : "use a longer text",
  );
}
