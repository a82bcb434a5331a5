import type { CudaBackend } from "@revnet-zero/backend-cuda";
import {
  arange,
  type DType,
  dispatch,
  Engine,
  type OpDef,
  ops,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
  zeros,
} from "@revnet-zero/tensor";

/** One kernel as a training step of the GPT-2 shape uses it: what it must read and write, or multiply, at least. */
interface KernelCase {
  readonly name: string;
  readonly megabytes?: number;
  readonly gigaflops?: number;
  readonly run: () => readonly Tensor[];
}

export interface KernelFigures {
  readonly name: string;
  readonly timeMs: number;
  /** Bytes that must move over the time, against a copy's; or products over the time. */
  readonly gigabytesPerSecond?: number;
  readonly shareOfCopy?: number;
  readonly teraflopsPerSecond?: number;
}

const [batch, time, heads, dim, hidden, classes, chunk] = [32, 1024, 12, 64, 3072, 50304, 2560] as const;
const width = heads * dim;
const rows = batch * time;
const MB = 1e6;

function cases(engine: Engine): KernelCase[] {
  let seed = 1;
  const draw = (shape: readonly number[], dtype: DType): Tensor =>
    engine.keep(engine.scope(() => randomNormal(shape, { key: randomKey(seed++), engine }).cast(dtype)));
  const x = draw([batch, time, width], "f32");
  const low = draw([batch, time, width], "bf16");
  const weight = draw([width], "f32");
  const up = draw([hidden, width], "bf16");
  const before = draw([rows, hidden], "bf16");
  const stream = engine.keep(engine.scope(() => x.quantise(20)));
  const mean = draw([batch, time], "f32");
  const inverse = engine.keep(engine.scope(() => mean.abs().add(1)));
  const heads3 = draw([batch, time, 3 * heads, dim], "bf16");
  const positions = engine.keep(arange(time, { engine }));
  const logits = draw([chunk, classes], "bf16");
  const targets = engine.keep(zeros([chunk], { dtype: "i32", engine }));
  const embedding = draw([classes, width], "f32");
  const moments = engine.keep(zeros([classes, width], { engine }));
  const one = engine.keep(engine.scope(() => zeros([], { engine }).add(1)));
  const schedule = engine.keep(tensor([1e-3, 0.1, 0.05], { engine }));
  const attrs = { keyHeads: heads, base: 10000, scale: dim ** -0.5, isCausal: true };
  const call =
    <A>(op: OpDef<A>, inputs: readonly Tensor[], options: A) =>
    (): readonly Tensor[] =>
      dispatch(engine, op, inputs, options);
  const [, o, lse] = dispatch(engine, ops.headAttention, [heads3, positions], attrs).map((t) => engine.keep(t));
  const size = (rows * width) / MB; // millions of elements
  const scores = (4 * batch * heads * time * time * dim) / 2 / 1e9;
  const eps = 1e-5;
  const norm = { eps, to: "bf16" } as const;
  const fixed = { fractionBits: 20, sign: 1 } as const;
  const adam = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 };
  return [
    { name: "add f32", megabytes: 12 * size, run: call(ops.add, [x, x], undefined) },
    { name: "cast f32 to bf16", megabytes: 6 * size, run: call(ops.cast, [x], { dtype: "bf16" }) },
    { name: "layerNorm f32 to bf16", megabytes: 6 * size, run: call(ops.layerNorm, [x, weight, weight], norm) },
    { name: "addNorm", megabytes: 12 * size, run: call(ops.addNorm, [x, low, weight, weight], norm) },
    {
      name: "layerNormBackward",
      megabytes: 10 * size,
      run: call(ops.layerNormBackward, [x, weight, mean, inverse, low], { eps }),
    },
    {
      name: "addNormBackward",
      megabytes: 16 * size,
      run: call(ops.addNormBackward, [x, weight, mean, inverse, low, x], { ...norm, hasMean: true }),
    },
    { name: "dequantise", megabytes: 8 * size, run: call(ops.dequantise, [stream], { fractionBits: 20 }) },
    { name: "fixedPointAdd", megabytes: 10 * size, run: call(ops.fixedPointAdd, [stream, low], fixed) },
    {
      name: "fixedPointAddNorm",
      megabytes: 12 * size,
      run: call(ops.fixedPointAddNorm, [stream, low, weight, weight], { ...norm, ...fixed }),
    },
    { name: "gelu", megabytes: (4 * rows * hidden) / MB, run: call(ops.gelu, [before], undefined) },
    {
      name: `sum of rows, ${hidden}`,
      megabytes: (2 * rows * hidden) / MB,
      run: call(ops.sum, [before], { axes: [0], keepDims: false }),
    },
    {
      name: `sum of rows, ${width}`,
      megabytes: 2 * size,
      run: () =>
        engine.scope(() => dispatch(engine, ops.sum, [low.reshape([rows, width])], { axes: [0], keepDims: false })),
    },
    {
      name: "crossEntropyWithGradient",
      megabytes: (4 * chunk * classes) / MB,
      run: call(ops.crossEntropyWithGradient, [logits, targets], undefined),
    },
    {
      name: "adamw",
      megabytes: (28 * classes * width) / MB,
      run: call(ops.adamw, [one, schedule, embedding, embedding, moments, moments], adam),
    },
    {
      name: "rope of queries and keys",
      megabytes: 8 * size,
      run: () => {
        const both = heads3.narrow(2, 0, 2 * heads).permute([0, 2, 1, 3]);
        const turned = dispatch(engine, ops.rope, [both, positions], { base: 10000, direction: 1 });
        both.dispose();
        return turned;
      },
    },
    {
      name: "headAttention",
      gigaflops: scores,
      run: () => dispatch(engine, ops.headAttention, [heads3, positions], attrs, { donates: true }),
    },
    {
      name: "headAttentionBackward",
      gigaflops: 2.5 * scores,
      run: call(ops.headAttentionBackward, [heads3, o!, lse!, o!, positions], attrs),
    },
    {
      name: "linear with bias and GELU",
      gigaflops: (2 * rows * width * hidden) / 1e9,
      run: call(ops.linear, [low, up, draw([hidden], "bf16")], { activation: "gelu" }),
    },
  ];
}

/** Every kernel again and again, timed by events of the device; first of all what a copy reaches. */
export function timeKernels(backend: CudaBackend, only: string | undefined, repeats = 20): KernelFigures[] {
  const engine = new Engine(backend);
  const { native } = backend.device;
  const timed = (run: () => void): number => {
    for (let i = 0; i < 3; i++) run();
    const first = native.recordEvent();
    for (let i = 0; i < repeats; i++) run();
    return native.elapsed(first, native.recordEvent()) / repeats;
  };
  const bytes = 2 ** 29;
  const [from, to] = [backend.allocate("u8", bytes), backend.allocate("u8", bytes)];
  const copyMs = timed(() => native.copy(to.address, from.address, bytes));
  backend.free(from);
  backend.free(to);
  const ceiling = (2 * bytes) / copyMs / 1e6;
  const figures: KernelFigures[] = [{ name: "copy", timeMs: copyMs, gigabytesPerSecond: ceiling, shareOfCopy: 1 }];
  for (const { name, megabytes, gigaflops, run } of cases(engine)) {
    if (only !== undefined && !name.includes(only)) continue;
    const timeMs = engine.noGrad(() =>
      timed(() => {
        for (const t of run()) t.dispose();
      }),
    );
    const rate = megabytes === undefined ? undefined : megabytes / timeMs;
    figures.push({
      name,
      timeMs,
      ...(rate === undefined ? {} : { gigabytesPerSecond: rate, shareOfCopy: rate / ceiling }),
      ...(gigaflops === undefined ? {} : { teraflopsPerSecond: gigaflops / timeMs }),
    });
  }
  return figures;
}
