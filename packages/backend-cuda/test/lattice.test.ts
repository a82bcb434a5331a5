import fc from "fast-check";
import { expect, test } from "vitest";
import { gradientLattices } from "../src/kernels/conv/lattice.ts";

test("a gradient by the input writes every pixel once, from all that a convolution made of it", () => {
  const axis = fc.record({
    to: fc.integer({ min: 1, max: 12 }),
    kernel: fc.integer({ min: 1, max: 5 }),
    stride: fc.integer({ min: 1, max: 5 }),
    padding: fc.integer({ min: 0, max: 4 }),
    dilation: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(axis, (sizes) => {
      const { to, kernel, stride, padding, dilation } = sizes;
      const found = Array.from({ length: to }, (): string[] => []);
      const written = new Array<number>(to).fill(0);
      for (const { first, step, count, taps, tap, tapStep, scale, shift, move } of gradientLattices(sizes))
        for (let n = 0; n < count; n++) {
          const pixel = first + step * n;
          written[pixel]!++;
          for (let i = 0; i < taps; i++) found[pixel]!.push(`${scale * n + shift + move * i} by ${tap + tapStep * i}`);
        }
      expect(written).toEqual(new Array(to).fill(1));
      // Output r reads pixel r · stride - padding + i · dilation by tap i, outputs outside of the image included: those are left out later.
      const expected = found.map((_, pixel) =>
        Array.from({ length: kernel }, (_, i) => [(pixel + padding - i * dilation) / stride, i] as const)
          .filter(([r]) => Number.isInteger(r))
          .map(([r, i]) => `${r} by ${i}`),
      );
      expect(found).toEqual(expected);
    }),
  );
});
