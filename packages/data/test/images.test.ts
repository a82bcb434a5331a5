import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DataError } from "../src/dataError.ts";
import { decodeIdx } from "../src/idx.ts";
import { ImageSet } from "../src/imageSet.ts";
import { loadFashionMnist, loadIdxImages, loadMnist } from "../src/imageSources.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "revnet-images-"));
});
afterAll(() => rm(folder, { recursive: true }));

function encodeIdx(shape: readonly number[], data: Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(4 + 4 * shape.length));
  header.setUint32(0, 0x800 + shape.length);
  for (const [axis, size] of shape.entries()) header.setUint32(4 + 4 * axis, size);
  return Uint8Array.from([...new Uint8Array(header.buffer), ...data]);
}

describe("an IDX file", () => {
  test("is read as it was written, gzipped or not", () => {
    const arrays = fc
      .array(fc.nat({ max: 5 }), { maxLength: 4 })
      .chain((shape) =>
        fc.tuple(
          fc.constant(shape),
          ...[shape.reduce((n, s) => n * s, 1)].map((size) => fc.uint8Array({ minLength: size, maxLength: size })),
        ),
      );
    fc.assert(
      fc.property(arrays, fc.boolean(), ([shape, data], isPacked) => {
        const file = encodeIdx(shape, data!);
        expect(decodeIdx(isPacked ? gzipSync(file) : file)).toEqual({ shape, data });
      }),
      { numRuns: 40 },
    );
  });

  test.for([
    ["too short", Uint8Array.of(0, 0, 8), /does not begin as an IDX file/],
    ["another format", new TextEncoder().encode("P5 28 28"), /does not begin as an IDX file/],
    ["floats", Uint8Array.of(0, 0, 0x0d, 0), /type 0x0d[\s\S]*only unsigned bytes/],
    ["cut off in the header", Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 1), /ends inside its header: 8 of 12 bytes/],
    ["cut off in the data", encodeIdx([2, 2], Uint8Array.of(1, 2, 3)), /has 3 bytes of data, and \[2, 2\] takes 4/],
    ["a broken archive", Uint8Array.of(0x1f, 0x8b, 1, 2, 3), /cannot be unpacked/],
  ] as const)("%s is refused, by name", ([_, bytes, problem]) => {
    const read = (): unknown => decodeIdx(bytes, "some.gz");
    expect(read).toThrow(DataError);
    expect(read).toThrow(problem);
    expect(read).toThrow(/"some\.gz"[\s\S]*hint: /);
  });
});

describe("an image set of IDX files", () => {
  const write = async (name: string, shape: readonly number[], data: Uint8Array): Promise<string> => {
    await writeFile(join(folder, name), encodeIdx(shape, data));
    return join(folder, name);
  };

  test("has one channel, or as many as the file says", async () => {
    const labels = await write("labels", [2], Uint8Array.of(3, 0));
    const gray = await write("gray", [2, 1, 3], Uint8Array.of(1, 2, 3, 4, 5, 6));
    const colour = await write("colour", [2, 3, 1, 1], Uint8Array.of(1, 2, 3, 4, 5, 6));
    const sizes = async (images: string): Promise<readonly number[]> => {
      const { count, channels, height, width, classNames } = await loadIdxImages({ name: "x", images, labels });
      expect(classNames).toEqual(["0", "1", "2", "3"]);
      return [count, channels, height, width];
    };
    expect(await sizes(gray)).toEqual([2, 1, 1, 3]);
    expect(await sizes(colour)).toEqual([2, 3, 1, 1]);
  });

  test("needs a label for each image", async () => {
    const images = await write("three", [3, 1, 1], Uint8Array.of(1, 2, 3));
    const labels = await write("two", [2], Uint8Array.of(0, 0));
    await expect(loadIdxImages({ name: "x", images, labels })).rejects.toThrow(/has \[3, 1, 1\], and .* has \[2\]/);
  });

  test("that is missing is refused with what to install or check", async () => {
    await expect(loadIdxImages({ name: "x", images: join(folder, "none"), labels: "none" })).rejects.toThrow(
      /there is no file .*none"\n {2}hint: check the path/,
    );
    await expect(loadFashionMnist(folder)).rejects.toThrow(/there is no file .*ubyte.gz/);
  });
});

describe("an image set", () => {
  const fields = { name: "x", channels: 1, height: 1, width: 2, classNames: ["a", "b"] };

  test.for([
    ["too few pixels", { pixels: new Uint8Array(3), labels: Uint8Array.of(0, 1) }, /3 pixels and 2 labels/],
    ["no image", { pixels: new Uint8Array(0), labels: new Uint8Array(0) }, /0 pixels and 0 labels/],
    ["a label without a class", { pixels: new Uint8Array(4), labels: Uint8Array.of(1, 2) }, /label 2 of image 1/],
  ] as const)("with %s is refused", ([_, given, problem]) => {
    expect(() => new ImageSet({ ...fields, ...given })).toThrow(problem);
  });

  test("selects whole images with their labels, and none that it has not", () => {
    const set = new ImageSet({ ...fields, pixels: Uint8Array.of(1, 2, 3, 4), labels: Uint8Array.of(0, 1) });
    const { pixels, labels } = set.select([1, 1, 0]);
    expect([[...pixels], [...labels]]).toEqual([
      [3, 4, 3, 4, 1, 2],
      [1, 1, 0],
    ]);
    expect(() => set.select([2])).toThrow(/no image 2[\s\S]*places 0 to 1/);
  });
});

test("MNIST is 10,000 digits in two parts without a common image, and the bytes of the original", async () => {
  const { train, test: held } = await loadMnist();
  expect([train.count, held.count]).toEqual([8004, 1996]);
  const imagesOf = ({ pixels, count }: ImageSet): string[] =>
    Array.from({ length: count }, (_, i) => Buffer.from(pixels.subarray(i * 784, (i + 1) * 784)).toString("latin1"));
  expect(new Set([...imagesOf(train), ...imagesOf(held)]).size).toBe(10_000);
  for (const set of [train, held]) {
    expect(set.pixels.reduce((most, v) => Math.max(most, v), 0)).toBe(255);
    const perDigit = new Map<number, number>();
    for (const label of set.labels) perDigit.set(label, (perDigit.get(label) ?? 0) + 1);
    expect([...perDigit.keys()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Digits are about equally frequent; the rarest is the 5.
    for (const n of perDigit.values()) expect(n / set.count).toBeGreaterThan(0.085);
  }
});

test("Fashion-MNIST has 60,000 garments to learn from and 10,000 to be tested on", async ({ skip }) => {
  const split = await loadFashionMnist().catch((error: Error) => {
    if (!/there is no file/.test(error.message)) throw error;
    return error;
  });
  if (split instanceof Error) return skip(split.message);
  expect([split.train.count, split.test.count]).toEqual([60_000, 10_000]);
  expect(split.test.classNames[split.test.labels[0]!]).toBe("ankle boot");
});
