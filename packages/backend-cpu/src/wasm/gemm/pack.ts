import { type FunctionBuilder, type I32, i32, type Local, type ModuleBuilder, v128 } from "../assembler/index.ts";

/**
 * Packs `count` lines of `steps` elements into panels of `width` lines, zero-padded: panel, then step, then line. Line l's
 * step s lies at source + l·lineBytes + s·stepBytes. Neighbouring lines (lineBytes 4) are copied as vectors, neighbouring steps
 * (stepBytes 4) transposed in registers, anything else word by word.
 */
export function packer(m: ModuleBuilder, width: number): FunctionBuilder {
  const parameters = ["i32", "i32", "i32", "i32", "i32", "i32"] as const;
  return m.function(`pack${width}`, parameters, (f, target, source, lineBytes, stepBytes, count, steps) => {
    const line = f.local("i32");
    const start = f.local("i32");
    const left = f.local("i32");
    const context: Context = { f, width, target, start, lineBytes, stepBytes, steps, left };
    f.for(line, i32.const(0), count, width, () => {
      f.set(start, i32.add(source, i32.mul(line, lineBytes)));
      f.set(left, i32.sub(count, line));
      f.if(
        i32.ltS(left, i32.const(width)),
        () => gather(context),
        () =>
          f.if(
            i32.eq(lineBytes, i32.const(4)),
            () => copyLines(context),
            () =>
              f.if(
                i32.eq(stepBytes, i32.const(4)),
                () => transpose(context),
                () => gather(context),
              ),
          ),
      );
    });
  });
}

interface Context {
  readonly f: FunctionBuilder;
  readonly width: number;
  /** Advanced as panels fill. */
  readonly target: Local<"i32">;
  readonly start: Local<"i32">;
  readonly lineBytes: I32;
  readonly stepBytes: I32;
  readonly steps: I32;
  readonly left: Local<"i32">;
}

/** Lines lie side by side: each step is one run of words. */
function copyLines({ f, width, target, start, stepBytes, steps }: Context): void {
  const s = f.local("i32");
  const whole = width - (width % 4);
  const run = f.locals("v128", whole / 4);
  f.for(s, i32.const(0), steps, 1, () => {
    // All loads before all stores: so V8 may join them.
    for (const [i, x] of run.entries()) f.set(x, v128.load(start, 16 * i));
    for (const [i, x] of run.entries()) f.do(v128.store(target, x, 16 * i));
    for (let at = whole; at < width; at++) f.do(i32.store(target, i32.load(start, 4 * at), 4 * at));
    f.advance(target, 4 * width);
    f.advance(start, stepBytes);
  });
}

/** Steps lie side by side: four lines by four steps at a time, turned in registers. */
function transpose({ f, width, target, start, lineBytes, steps }: Context): void {
  const lines = f.locals("i32", width);
  const rows = f.locals("v128", 4);
  const pairs = f.locals("v128", 4);
  const left = f.local("i32");
  for (const [q, l] of lines.entries()) f.set(l, q === 0 ? start : i32.add(lines[q - 1]!, lineBytes));
  f.set(left, steps);
  f.while(i32.geS(left, i32.const(4)), () => {
    let q = 0;
    for (; q + 4 <= width; q += 4) {
      const [r0, r1, r2, r3] = rows as [Local<"v128">, Local<"v128">, Local<"v128">, Local<"v128">];
      const [p0, p1, p2, p3] = pairs as [Local<"v128">, Local<"v128">, Local<"v128">, Local<"v128">];
      for (const [e, r] of rows.entries()) f.set(r, v128.load(lines[q + e]!));
      f.set(p0, v128.lanes32(r0, r1, [0, 4, 1, 5]));
      f.set(p1, v128.lanes32(r0, r1, [2, 6, 3, 7]));
      f.set(p2, v128.lanes32(r2, r3, [0, 4, 1, 5]));
      f.set(p3, v128.lanes32(r2, r3, [2, 6, 3, 7]));
      f.do(v128.store(target, v128.lanes32(p0, p2, [0, 1, 4, 5]), 4 * q));
      f.do(v128.store(target, v128.lanes32(p0, p2, [2, 3, 6, 7]), 4 * (width + q)));
      f.do(v128.store(target, v128.lanes32(p1, p3, [0, 1, 4, 5]), 4 * (2 * width + q)));
      f.do(v128.store(target, v128.lanes32(p1, p3, [2, 3, 6, 7]), 4 * (3 * width + q)));
    }
    for (; q < width; q++)
      for (let e = 0; e < 4; e++) f.do(i32.store(target, i32.load(lines[q]!, 4 * e), 4 * (e * width + q)));
    for (const l of lines) f.advance(l, 16);
    f.advance(target, 16 * width);
    f.advance(left, -4);
  });
  f.while(i32.gtS(left, i32.const(0)), () => {
    lines.forEach((l, q) => {
      f.do(i32.store(target, i32.load(l), 4 * q));
      f.advance(l, 4);
    });
    f.advance(target, 4 * width);
    f.advance(left, -1);
  });
}

/** Any strides, and the last panel, whose missing lines are zero. */
function gather({ f, width, target, start, lineBytes, stepBytes, steps, left }: Context): void {
  const [s, q, from] = [f.local("i32"), f.local("i32"), f.local("i32")];
  f.for(s, i32.const(0), steps, 1, () => {
    f.set(from, i32.add(start, i32.mul(s, stepBytes)));
    f.for(q, i32.const(0), i32.const(width), 1, () => {
      f.if(
        i32.ltS(q, left),
        () => f.do(i32.store(target, i32.load(from))),
        () => f.do(i32.store(target, i32.const(0))),
      );
      f.advance(from, lineBytes);
      f.advance(target, 4);
    });
  });
}
