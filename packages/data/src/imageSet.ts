import { DataError } from "./dataError.ts";

export interface ImageSetFields {
  /** What messages and reports call it. */
  readonly name: string;
  /** Brightness 0 to 255, `[count, channels, height, width]` row-major. */
  readonly pixels: Uint8Array;
  /** The class of each image, counted from 0, `[count]`. */
  readonly labels: Uint8Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** A name for each class. */
  readonly classNames: readonly string[];
}

/** Labelled images of one size. */
export class ImageSet implements ImageSetFields {
  readonly name: string;
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classNames: readonly string[];

  /** @throws DataError if sizes do not fit together, a label names no class, or there is no image. */
  constructor({ name, pixels, labels, channels, height, width, classNames }: ImageSetFields) {
    const bytes = channels * height * width;
    if (!Number.isSafeInteger(bytes) || bytes < 1 || labels.length < 1 || pixels.length !== labels.length * bytes) {
      throw new DataError(
        "ImageSet",
        `${pixels.length} pixels and ${labels.length} labels do not make images of [${channels}, ${height}, ${width}] in ${name}`,
        "give at least one image, and channels · height · width pixels for each label",
      );
    }
    const wrong = labels.findIndex((label) => label >= classNames.length);
    if (wrong !== -1) {
      throw new DataError(
        "ImageSet",
        `label ${labels[wrong]} of image ${wrong} names none of ${classNames.length} classes in ${name}`,
        "classes count from 0; give a name for each",
      );
    }
    this.name = name;
    this.pixels = pixels;
    this.labels = labels;
    this.channels = channels;
    this.height = height;
    this.width = width;
    this.classNames = classNames;
  }

  /** How many images. */
  get count(): number {
    return this.labels.length;
  }

  /** The images at the given places, copied. */
  select(places: readonly number[], name: string = this.name): ImageSet {
    const bytes = this.channels * this.height * this.width;
    const pixels = new Uint8Array(places.length * bytes);
    places.forEach((place, i) => {
      if (!Number.isInteger(place) || place < 0 || place >= this.count)
        throw new DataError(
          "select",
          `there is no image ${place} in ${this.name}`,
          `use places 0 to ${this.count - 1}`,
        );
      pixels.set(this.pixels.subarray(place * bytes, (place + 1) * bytes), i * bytes);
    });
    return new ImageSet({ ...this, name, pixels, labels: Uint8Array.from(places, (place) => this.labels[place]!) });
  }
}

/** Images to learn from, and others to be tested on. */
export interface ImageSplit {
  readonly train: ImageSet;
  readonly test: ImageSet;
}
