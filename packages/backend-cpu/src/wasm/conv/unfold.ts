import { type FunctionBuilder, f32, i32, type Local, type ModuleBuilder, select } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { mapRow } from "../rows/row.ts";
import { VectorCode } from "../vector/vectors.ts";
import { type Sizes, sizesAt, UNFOLDED_ROW_BYTES } from "./geometry.ts";

type L = Local<"i32">;

/** Output positions of one row that a tap meets: some beside the image, some in it, some beside it again. */
interface Run {
  /** Their words in the unfolded row. */
  readonly words: L;
  /** The first one's word in the image. */
  readonly pixels: L;
  readonly before: L;
  readonly inside: L;
  readonly after: L;
}

/**
 * Goes over taps [fromTap, toTap) of a group's image and positions [from, to), run by run. Parameters: the unfolded words (a row
 * a tap), the group's first channel, the geometry, fromTap, toTap, from, to.
 */
function emitRuns(
  m: ModuleBuilder,
  multiply: Multiply,
  name: string,
  write: (v: VectorCode, run: Run, sizes: Sizes) => void,
): FunctionBuilder {
  const types = Array.from({ length: 7 }, () => "i32" as const);
  return m.function(name, types, (f, unfolded, image, geometry, fromTap, toTap, from, to) => {
    const v = new VectorCode(f, 4, multiply);
    const sizes = sizesAt(f, geometry);
    const { height, width, kernelWidth, taps, strideX, strideY, columns } = sizes;
    const [tap, plane, shiftY, shiftX, low, high, rest] = f.locals("i32", 7) as [L, L, L, L, L, L, L];
    const [position, row, column, end, y] = f.locals("i32", 5) as [L, L, L, L, L];
    const [words, pixels, before, inside, after] = f.locals("i32", 5) as [L, L, L, L, L];
    const within = (x: L): ReturnType<typeof i32.min> => i32.min(i32.max(x, column), end);
    f.for(tap, fromTap, toTap, 1, () => {
      f.set(plane, i32.add(image, i32.mul(i32.divU(tap, taps), sizes.planeBytes)));
      f.set(rest, i32.remU(tap, taps));
      f.set(shiftY, i32.sub(i32.mul(i32.divU(rest, kernelWidth), sizes.dilationY), sizes.paddingY));
      f.set(shiftX, i32.sub(i32.mul(i32.remU(rest, kernelWidth), sizes.dilationX), sizes.paddingX));
      // Columns [low, high) of the output meet a pixel.
      const ceiling = (x: ReturnType<typeof i32.sub>) =>
        i32.divU(i32.add(i32.max(x, i32.const(0)), i32.sub(strideX, i32.const(1))), strideX);
      f.set(low, ceiling(i32.sub(i32.const(0), shiftX)));
      f.set(high, ceiling(i32.sub(width, shiftX)));
      f.set(words, i32.add(unfolded, i32.mul(i32.sub(tap, fromTap), i32.const(UNFOLDED_ROW_BYTES))));
      f.set(position, from);
      f.while(i32.ltS(position, to), () => {
        f.set(row, i32.divU(position, columns));
        f.set(column, i32.sub(position, i32.mul(row, columns)));
        f.set(end, i32.min(columns, i32.add(column, i32.sub(to, position))));
        f.set(y, i32.add(i32.mul(row, strideY), shiftY));
        f.set(before, within(low));
        f.set(inside, i32.max(within(high), before));
        // A row above or below the image has none.
        f.set(inside, select(inside, before, i32.ltU(y, height)));
        const x = i32.add(i32.mul(before, strideX), shiftX);
        f.set(pixels, i32.add(plane, i32.shl(i32.add(i32.mul(y, width), x), i32.const(2))));
        f.set(after, i32.sub(end, inside));
        f.set(inside, i32.sub(inside, before));
        f.set(before, i32.sub(before, column));
        f.advance(position, i32.sub(end, column));
        write(v, { words, pixels, before, inside, after }, sizes);
        f.advance(words, i32.shl(i32.add(i32.add(before, inside), after), i32.const(2)));
      });
    });
  });
}

/** One word at a time, pixels `strideX` apart. */
function eachWord(v: VectorCode, { words, pixels, before, inside }: Run, strideX: L, body: (w: L, p: L) => void): void {
  const { f } = v;
  const [word, pixel, left] = f.locals("i32", 3) as [L, L, L];
  f.set(word, i32.add(words, i32.shl(before, i32.const(2))));
  f.set(pixel, pixels);
  f.set(left, inside);
  f.while(i32.gtS(left, i32.const(0)), () => {
    body(word, pixel);
    f.advance(word, 4);
    f.advance(pixel, i32.shl(strideX, i32.const(2)));
    f.advance(left, -1);
  });
}

const isOne = (x: L) => i32.eq(x, i32.const(1));

/** Copies the pixels that taps meet, zeros beside the image. */
export function emitUnfold(m: ModuleBuilder, multiply: Multiply): FunctionBuilder {
  return emitRuns(m, multiply, "unfold", (v, run, { strideX }) => {
    const { f } = v;
    const { words, pixels, before, inside, after } = run;
    const start = f.let(i32.add(words, i32.shl(before, i32.const(2))));
    const zeros = (at: L, count: L): void => {
      f.if(count, () => mapRow(v, count, at, [], (w) => w.float(0)));
    };
    zeros(words, before);
    f.if(
      isOne(strideX),
      () => mapRow(v, inside, start, [pixels], (_, [a]) => a!),
      () => eachWord(v, run, strideX, (word, pixel) => f.do(i32.store(word, i32.load(pixel)))),
    );
    zeros(f.let(i32.add(start, i32.shl(inside, i32.const(2)))), after);
  });
}

/** Adds every word to the pixel it meets. */
export function emitFold(m: ModuleBuilder, multiply: Multiply): FunctionBuilder {
  return emitRuns(m, multiply, "fold", (v, run, { strideX }) => {
    const { f } = v;
    const { words, pixels, before, inside } = run;
    const start = f.let(i32.add(words, i32.shl(before, i32.const(2))));
    f.if(
      isOne(strideX),
      () => mapRow(v, inside, pixels, [pixels, start], (w, [a, b]) => w.add(a!, b!)),
      () =>
        eachWord(v, run, strideX, (word, pixel) => f.do(f32.store(pixel, f32.add(f32.load(pixel), f32.load(word))))),
    );
  });
}
