import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Augmentation, ImageBatches } from "../src/imageBatches.ts";
import { ImageSet } from "../src/imageSet.ts";

/** Images that are all different: the first pixel of image i is i. */
function numbered(count: number, { channels = 1, height = 3, width = 4 } = {}): ImageSet {
  const bytes = channels * height * width;
  const pixels = Uint8Array.from({ length: count * bytes }, (_, i) =>
    i % bytes === 0 ? i / bytes : (i * 37 + Math.floor(i / bytes)) % 256,
  );
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 3);
  return new ImageSet({ name: "numbered", pixels, labels, channels, height, width, classNames: ["a", "b", "c"] });
}

const seeds = fc.nat({ max: 2 ** 40 });

describe("training batches", () => {
  test("show every image once an epoch, with its label, in another order each time", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.integer({ min: 1, max: 17 }), seeds, (count, batchSize, seed) => {
        const batches = new ImageBatches(numbered(count), { batchSize, seed });
        const seen: number[] = [];
        for (let step = 0; seen.length < 2 * count; step++) {
          const { images, labels } = batches.batchAt(step);
          labels.forEach((label, row) => {
            const place = Math.round(images[row * 12]! * 255);
            expect(label).toBe(place % 3);
            seen.push(place);
          });
        }
        const all = Array.from({ length: count }, (_, i) => i);
        const epochs = [seen.slice(0, count), seen.slice(count, 2 * count)];
        for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(all);
        if (count > 20) expect(epochs[0]).not.toEqual(epochs[1]);
      }),
      { numRuns: 30 },
    );
  });

  test("are a function of seed and step alone", () => {
    const set = numbered(30);
    const options = { batchSize: 7, augmentation: { shift: 2, rotation: 30, scale: 0.2, mirror: true } };
    fc.assert(
      fc.property(seeds, fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 6 }), (seed, steps) => {
        const walked = new ImageBatches(set, { ...options, seed });
        for (const step of steps) {
          expect(walked.batchAt(step)).toEqual(new ImageBatches(set, { ...options, seed }).batchAt(step));
          expect(walked.batchAt(step)).not.toEqual(new ImageBatches(set, { ...options, seed: seed + 1 }).batchAt(step));
        }
      }),
      { numRuns: 20 },
    );
  });

  test("are standardised", () => {
    const set = numbered(4, { channels: 2 });
    const plain = new ImageBatches(set, { batchSize: 4, seed: 1 }).batchAt(0);
    const moved = new ImageBatches(set, { batchSize: 4, seed: 1, mean: 0.25, std: 0.5 }).batchAt(0);
    expect(plain.shape).toEqual([4, 2, 3, 4]);
    plain.images.forEach((v, i) => {
      expect(moved.images[i]).toBeCloseTo((v - 0.25) / 0.5, 6);
    });
  });
});

describe("images in order", () => {
  test("are all of them, once, as they are", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 15 }), (count, batchSize) => {
        const set = numbered(count);
        const batches = [...new ImageBatches(set, { batchSize, seed: 1, augmentation: { shift: 3 } }).inOrder()];
        const pixels = batches.flatMap(({ images }) => Array.from(images, (v) => Math.round(v * 255)));
        expect(pixels).toEqual([...set.pixels]);
        expect(batches.flatMap(({ labels }) => [...labels])).toEqual([...set.labels]);
      }),
      { numRuns: 20 },
    );
  });
});

describe("augmentation", () => {
  /** One image of 9 by 9 with a cross left of the middle, moved in every way that a batch of 200 draws. */
  const cross = new ImageSet({
    name: "cross",
    pixels: Uint8Array.from({ length: 81 }, (_, i) => ([30, 38, 39, 40, 48].includes(i) ? 255 : 0)),
    labels: Uint8Array.of(0),
    channels: 1,
    height: 9,
    width: 9,
    classNames: ["cross"],
  });
  const draw = (augmentation: Augmentation): Float32Array[] => {
    const { images } = new ImageBatches(cross, { batchSize: 200, seed: 3, augmentation }).batchAt(0);
    return Array.from({ length: 200 }, (_, i) => images.subarray(i * 81, (i + 1) * 81));
  };
  /** Sum, and centre of mass as seen from the middle. */
  const moments = (image: Float32Array): { mass: number; x: number; y: number } => {
    let [mass, x, y] = [0, 0, 0];
    image.forEach((v, i) => {
      mass += v;
      x += v * ((i % 9) - 4);
      y += v * (Math.floor(i / 9) - 4);
    });
    return { mass, x: x / mass, y: y / mass };
  };
  const original = moments(draw({})[0]!);

  test("of nothing changes nothing", () => {
    for (const image of draw({ shift: 0, rotation: 0, scale: 0, mirror: false }))
      expect([...image].map((v) => v * 255)).toEqual([...cross.pixels]);
  });

  test("shifts by up to the given pixels, both ways", () => {
    const found = draw({ shift: 2 }).map(moments);
    for (const { mass, x, y } of found) {
      expect(mass).toBeCloseTo(original.mass, 4);
      expect(Math.abs(x - original.x)).toBeLessThanOrEqual(2);
      expect(Math.abs(y - original.y)).toBeLessThanOrEqual(2);
    }
    for (const axis of ["x", "y"] as const) {
      const moves = found.map((m) => m[axis] - original[axis]);
      expect([Math.min(...moves) < -1.8, Math.max(...moves) > 1.8]).toEqual([true, true]);
    }
  });

  test("turns by up to the given angle, both ways", () => {
    // Bilinear interpolation keeps the centre of mass of the source's samples only nearly.
    const angles = draw({ rotation: 60 }).map((image) => {
      const { x, y } = moments(image);
      expect(Math.hypot(x, y)).toBeCloseTo(Math.hypot(original.x, original.y), 0.5);
      const angle = Math.atan2(y, x) - Math.atan2(original.y, original.x);
      return (((angle * 180) / Math.PI + 540) % 360) - 180;
    });
    expect(Math.max(...angles)).toBeGreaterThan(50);
    expect(Math.min(...angles)).toBeLessThan(-50);
    for (const angle of angles) expect(Math.abs(angle)).toBeLessThan(66);
  });

  test("changes sizes, so areas by the square of it", () => {
    const areas = draw({ scale: 0.3 }).map((image) => moments(image).mass / original.mass);
    expect(Math.max(...areas)).toBeGreaterThan(1.4);
    expect(Math.min(...areas)).toBeLessThan(0.7);
  });

  test("mirrors about half of the images", () => {
    const isMirrored = draw({ mirror: true }).map((image) => moments(image).x > 0);
    expect(original.x).toBeLessThan(0);
    const share = isMirrored.filter(Boolean).length / 200;
    expect(share).toBeGreaterThan(0.35);
    expect(share).toBeLessThan(0.65);
  });
});

test.for([
  ["batchSize", { batchSize: 0 }],
  ["seed", { seed: -1 }],
  ["std", { std: 0 }],
  ["mean", { mean: Number.NaN }],
  ["augmentation.shift", { augmentation: { shift: -1 } }],
  ["augmentation.rotation", { augmentation: { rotation: 180 } }],
  ["augmentation.scale", { augmentation: { scale: 1 } }],
] as const)("a %s out of range is refused", ([name, options]) => {
  const make = (): unknown => new ImageBatches(numbered(3), { batchSize: 2, seed: 1, ...options });
  expect(make).toThrow(new RegExp(`ImageBatches: ${name} is [\\s\\S]*hint: `));
});
