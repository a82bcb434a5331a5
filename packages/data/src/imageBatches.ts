import { philox4x32 } from "@revnet-zero/tensor";
import { DataError } from "./dataError.ts";
import type { ImageSet } from "./imageSet.ts";
import { type Warp, warpInto } from "./warp.ts";

/** Images as a model takes them; row-major. */
export interface ImageBatch {
  /** (brightness / 255 - mean) / std, `[batch, channels, height, width]`. */
  readonly images: Float32Array;
  readonly shape: readonly [batch: number, channels: number, height: number, width: number];
  /** Classes, `[batch]`. */
  readonly labels: Int32Array;
}

/** How far training images are moved, at random and anew in every epoch. */
export interface Augmentation {
  /** Largest shift along each axis, in pixels. Default 0. */
  readonly shift?: number;
  /** Largest turn either way, in degrees below 180. Default 0. */
  readonly rotation?: number;
  /** Largest change of size, as a share below 1: 0.1 draws factors 0.9 to 1.1. Default 0. */
  readonly scale?: number;
  /** Exchange left and right in every second image. Default false. */
  readonly mirror?: boolean;
}

export interface ImageBatchesOptions {
  readonly batchSize: number;
  /** Integer of up to 53 bits; with the step it decides every batch. */
  readonly seed: number;
  /** Default: images as they are. */
  readonly augmentation?: Augmentation;
  /** Of brightness from 0 to 1: taken off. Default 0. */
  readonly mean?: number;
  /** Of brightness from 0 to 1: divided by. Default 1. */
  readonly std?: number;
}

/** Last words of the generator's counter: keep these streams apart from every other one with the same key. */
const orderStream = 0x696d6f72;
const warpStream = 0x696d7761;

/**
 * Batches of an image set, shuffled anew in every epoch. There is no position to save: a batch is a pure function of
 * (seed, step), so a resumed run reads what the uninterrupted one would have.
 *
 * ```ts
 * import { ImageBatches, ImageSet } from "@revnet-zero/data";
 * const size = { channels: 1, height: 2, width: 2 };
 * const set = new ImageSet({ name: "dots", pixels: new Uint8Array(40), labels: new Uint8Array(10), classNames: ["dot"], ...size });
 * const batches = new ImageBatches(set, { batchSize: 4, seed: 1, augmentation: { shift: 1 } });
 * batches.batchAt(0).shape; // => [ 4, 1, 2, 2 ]
 * batches.stepsPerEpoch; // => 2.5
 * ```
 */
export class ImageBatches {
  readonly set: ImageSet;
  readonly batchSize: number;
  readonly #options: Required<ImageBatchesOptions>;
  readonly #key: readonly [number, number];
  /** tan of half the largest turn. */
  readonly #halfTurn: number;
  #order: { readonly epoch: number; readonly places: Int32Array } | undefined;

  /** @throws DataError if an option is out of range. */
  constructor(set: ImageSet, options: ImageBatchesOptions) {
    const { batchSize, seed, augmentation = {}, mean = 0, std = 1 } = options;
    const { shift = 0, rotation = 0, scale = 0 } = augmentation;
    check(
      "batchSize",
      batchSize,
      Number.isSafeInteger(batchSize) && batchSize >= 1,
      "give a whole number of at least 1",
    );
    check("seed", seed, Number.isSafeInteger(seed) && seed >= 0, "give a whole number of at least 0");
    check("mean", mean, Number.isFinite(mean), "give the mean brightness, 0 to 1");
    check("std", std, Number.isFinite(std) && std > 0, "give the brightness's standard deviation, above 0");
    check("augmentation.shift", shift, Number.isFinite(shift) && shift >= 0, "give pixels, 0 for none");
    check("augmentation.rotation", rotation, rotation >= 0 && rotation < 180, "give degrees from 0 to below 180");
    check("augmentation.scale", scale, scale >= 0 && scale < 1, "give a share from 0 to below 1, say 0.1");
    this.set = set;
    this.batchSize = batchSize;
    this.#options = { batchSize, seed, augmentation, mean, std };
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
    this.#halfTurn = Math.tan((rotation * Math.PI) / 360);
  }

  /** Batches until every image was seen once. A batch may reach into the next epoch. */
  get stepsPerEpoch(): number {
    return this.set.count / this.batchSize;
  }

  /** The training batch of a step: its images in the epoch's order, moved as the augmentation says. */
  batchAt(step: number): ImageBatch {
    check("step", step, Number.isSafeInteger(step) && step >= 0, "give a whole number of at least 0");
    const first = step * this.batchSize;
    const isMoved = Object.values(this.#options.augmentation).some((most) => Number(most) > 0);
    return this.#gather(this.batchSize, (row) => ({
      place: this.#placeOf(first + row),
      warp: isMoved ? this.#warpOf(first + row) : undefined,
    }));
  }

  /** All images once, in the set's order and as they are: for evaluation. The last batch may have fewer. */
  *inOrder(): Generator<ImageBatch, void, undefined> {
    const { count } = this.set;
    for (let first = 0; first < count; first += this.batchSize) {
      yield this.#gather(Math.min(this.batchSize, count - first), (row) => ({ place: first + row }));
    }
  }

  #gather(
    batch: number,
    rowAt: (row: number) => { readonly place: number; readonly warp?: Warp | undefined },
  ): ImageBatch {
    const { pixels, labels: classes, channels, height, width } = this.set;
    const { mean, std } = this.#options;
    const plane = height * width;
    const images = new Float32Array(batch * channels * plane);
    const labels = new Int32Array(batch);
    for (let row = 0; row < batch; row++) {
      const { place, warp } = rowAt(row);
      labels[row] = classes[place]!;
      for (let c = 0; c < channels; c++) {
        const [from, to] = [(place * channels + c) * plane, (row * channels + c) * plane];
        const channel = pixels.subarray(from, from + plane);
        if (warp === undefined) images.set(channel, to);
        else warpInto(images.subarray(to, to + plane), channel, height, width, warp);
      }
    }
    for (let i = 0; i < images.length; i++) images[i] = (images[i]! / 255 - mean) / std;
    return { images, shape: [batch, channels, height, width], labels };
  }

  /** Which image is the `position`-th of all that training sees. */
  #placeOf(position: number): number {
    const { count } = this.set;
    const epoch = Math.floor(position / count);
    if (this.#order?.epoch !== epoch) this.#order = { epoch, places: shuffled(count, epoch, this.#key) };
    return this.#order.places[position % count]!;
  }

  #warpOf(position: number): Warp {
    const { shift = 0, scale = 0, mirror = false } = this.#options.augmentation;
    const counter = [position >>> 0, Math.floor(position / 2 ** 32) >>> 0, 0, warpStream] as const;
    const words = philox4x32(counter, this.#key);
    // The upper 31 bits, in [-1, 1).
    const [turn, size, right, down] = words.map((word) => (word >>> 1) / 2 ** 30 - 1) as [
      number,
      number,
      number,
      number,
    ];
    return {
      halfTurn: this.#halfTurn * turn,
      scale: 1 + scale * size,
      shiftX: shift * right,
      shiftY: shift * down,
      isMirrored: mirror && (words[0] & 1) === 1,
    };
  }
}

/** The places 0 to count - 1 in an order drawn by epoch and key. Source: Durstenfeld 1964, algorithm 235. */
function shuffled(count: number, epoch: number, key: readonly [number, number]): Int32Array {
  const places = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const [high, low] = philox4x32([i, epoch >>> 0, 0, orderStream], key);
    // 53 random bits in [0, 1): the bias of the product is below count / 2^53.
    const j = Math.floor((((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53) * (i + 1));
    [places[i], places[j]] = [places[j]!, places[i]!];
  }
  return places;
}

function check(name: string, value: number, isGood: boolean, hint: string): void {
  if (!isGood) throw new DataError("ImageBatches", `${name} is ${value}`, hint);
}
