import {
  type AnyOp,
  type AttrsOf,
  arange,
  type DType,
  dispatch,
  type Engine,
  numel,
  ops,
  randomKey,
  randomNormal,
  type Shape,
  type Tensor,
  tensor,
  zeros,
} from "@revnet-zero/tensor";

/** What a kernel is held to. "bytes": what must move, at a copy's speed. "flops": multiplications. */
export interface GpuCase {
  readonly op: AnyOp;
  readonly inputs: readonly Tensor[];
  readonly attrs: unknown;
  /** Bytes that must be read and written at least. */
  readonly bytes?: number;
  readonly flops?: number;
  /** Whether the caller gives its first operand up, as the training step does. */
  readonly donates?: boolean;
  /** What it replaces, where the op's own decomposition has fused kernels in it. Default: the decomposition of a fused op. */
  readonly parts?: () => readonly Tensor[];
}

export interface GpuSizes {
  readonly batch: number;
  readonly time: number;
  readonly heads: number;
  readonly dim: number;
  readonly classes: number;
  /** Rows of logits that exist at a time. */
  readonly chunk: number;
}
/** GPT-2's, 32 x 1024 tokens. */
export const gpt2Sizes: GpuSizes = { batch: 32, time: 1024, heads: 12, dim: 64, classes: 50304, chunk: 2560 };
export const quickSizes: GpuSizes = { batch: 2, time: 16, heads: 2, dim: 16, classes: 64, chunk: 40 };

interface Make {
  readonly sizes: GpuSizes;
  readonly engine: Engine;
  readonly draw: (shape: Shape, dtype: DType) => Tensor;
}
type MakeCase = (make: Make) => GpuCase;

const eps = 1e-5;
const norm = { eps, to: "bf16" } as const;
const step = { fractionBits: 20, sign: 1 } as const;

/** Rows [batch, time, width] of the residual stream. */
const streamShape = ({ batch, time, heads, dim }: GpuSizes): Shape => [batch, time, heads * dim];
const widthOf = ({ heads, dim }: GpuSizes): number => heads * dim;
const hiddenOf = (sizes: GpuSizes): number => 4 * widthOf(sizes);
const rowsOf = ({ batch, time }: GpuSizes): number => batch * time;
const elementsOf = (sizes: GpuSizes): number => rowsOf(sizes) * widthOf(sizes);

/** A case over the residual stream that moves so many bytes an element. */
const overStream =
  <A>(bytes: number, op: AnyOp, attrs: A, inputs: (make: Make) => readonly Tensor[]): MakeCase =>
  (make) => ({ op, attrs, inputs: inputs(make), bytes: bytes * elementsOf(make.sizes) });

const stream = ({ draw, sizes }: Make): Tensor => draw(streamShape(sizes), "f32");
const increment = ({ draw, sizes }: Make): Tensor => draw(streamShape(sizes), "bf16");
const vector = ({ draw, sizes }: Make): Tensor => draw([widthOf(sizes)], "f32");
const statistic = ({ draw, sizes }: Make): Tensor => draw([sizes.batch, sizes.time], "f32");
const fixed = (make: Make): Tensor => stream(make).quantise(20);

const attentionAttrs = ({ heads, dim }: GpuSizes): AttrsOf<typeof ops.headAttention> => ({
  ...{ keyHeads: heads, base: 10000, scale: dim ** -0.5, isCausal: true },
});
const packedHeads = ({ draw, sizes: { batch, time, heads, dim } }: Make): Tensor =>
  draw([batch, time, 3 * heads, dim], "bf16");
/** Half of the products of scores: a causal mask. */
const scoreFlops = ({ batch, heads, time, dim }: GpuSizes): number => (4 * batch * heads * time * time * dim) / 2;

/** Packed heads as [batch, heads, time, dim], queries and keys turned where there are positions. */
function headsOf(x: Tensor, positions: Tensor | undefined): Tensor[] {
  const heads = x.shape[2]! / 3;
  const parts = x.split([heads, heads, heads], 2).map((part) => part.permute([0, 2, 1, 3]));
  return positions === undefined ? parts : parts.map((part, i) => (i === 2 ? part : part.rope(positions, 10000)));
}
const positionsOf = ({ engine, sizes }: Make, isTurned: boolean): Tensor[] =>
  isTurned ? [arange(sizes.time, { engine })] : [];

/** AdamW of the embedding: what it reads and writes, and two bytes more where a copy for autocast is written as well. */
const adamwCase =
  (hasCopy: boolean): MakeCase =>
  ({ draw, engine, sizes }) => {
    const shape = [sizes.classes, widthOf(sizes)];
    const moments = [zeros(shape, { engine }), zeros(shape, { engine })];
    return {
      op: hasCopy ? ops.adamwCopying : ops.adamw,
      attrs: { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 },
      inputs: [
        zeros([], { engine }).add(1),
        tensor([1e-6, 0.1, 0.05], { engine }),
        ...[draw(shape, "f32"), draw(shape, "f32"), ...moments],
        ...(hasCopy ? [draw(shape, "bf16")] : []),
      ],
      bytes: (hasCopy ? 30 : 28) * sizes.classes * widthOf(sizes),
    };
  };

const attentionCase =
  (isTurned: boolean): MakeCase =>
  (make) => {
    const [x, positions] = [packedHeads(make), positionsOf(make, isTurned)];
    const attrs = attentionAttrs(make.sizes);
    const parts = (): readonly Tensor[] => ops.attention.decompose(headsOf(x, positions[0]), attrs);
    const inputs = [x, ...positions];
    return { op: ops.headAttention, attrs, inputs, flops: scoreFlops(make.sizes), donates: true, parts };
  };
const attentionBackwardCase =
  (isTurned: boolean): MakeCase =>
  (make) => {
    const [x, positions] = [packedHeads(make), positionsOf(make, isTurned)];
    const attrs = attentionAttrs(make.sizes);
    const [turned, o, lse] = dispatch(make.engine, ops.headAttention, [x, ...positions], attrs) as [
      ...[Tensor, Tensor, Tensor],
    ];
    const swapped = o.permute([0, 2, 1, 3]);
    const parts = (): readonly Tensor[] =>
      ops.attentionBackward.decompose([...headsOf(turned, positions[0]), swapped, lse, swapped], attrs);
    const inputs = [turned, o, lse, o, ...positions];
    return { op: ops.headAttentionBackward, attrs, inputs, flops: 2.5 * scoreFlops(make.sizes), parts };
  };

/** A convolution of 3 x 3 places, or its gradient by the input or the weight: images [batch, 2 dim, time / 32, time / 32], as many channels out. */
const convolutionCase =
  (op: typeof ops.conv2d | typeof ops.conv2dInputGradient | typeof ops.conv2dWeightGradient, dtype: DType): MakeCase =>
  ({ draw, sizes: { batch, dim, time } }) => {
    const side = Math.ceil(time / 32);
    const [x, w] = [draw([batch, 2 * dim, side, side], dtype), draw([2 * dim, 2 * dim, 3, 3], dtype)];
    const attrs = { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 };
    const [shape, inputs] =
      op === ops.conv2d ? [undefined, [x, w]] : op === ops.conv2dInputGradient ? [x.shape, [x, w]] : [w.shape, [x, x]];
    return { op, attrs: { ...attrs, shape }, inputs, flops: 2 * batch * side * side * numel(w.shape) };
  };

/** Kernels of a training step of the GPT-2 shape, as it uses them, a softmax that it does not, and convolutions. */
const cases: Readonly<Record<string, MakeCase>> = {
  add: overStream(12, ops.add, undefined, (m) => [stream(m), stream(m)]),
  cast: overStream(6, ops.cast, { dtype: "bf16" }, (m) => [stream(m)]),
  dequantise: overStream(8, ops.dequantise, { fractionBits: 20 }, (m) => [fixed(m)]),
  layerNorm: overStream(6, ops.layerNorm, norm, (m) => [stream(m), vector(m), vector(m)]),
  layerNormBackward: overStream(10, ops.layerNormBackward, { eps }, (m) => [
    ...[stream(m), vector(m), statistic(m), statistic(m), increment(m)],
  ]),
  addNorm: overStream(12, ops.addNorm, norm, (m) => [stream(m), increment(m), vector(m), vector(m)]),
  addNormBackward: overStream(16, ops.addNormBackward, { ...norm, hasMean: true }, (m) => [
    ...[stream(m), vector(m), statistic(m), statistic(m), increment(m), stream(m)],
  ]),
  fixedPointAdd: overStream(10, ops.fixedPointAdd, step, (m) => [fixed(m), increment(m)]),
  fixedPointNorm: overStream(6, ops.fixedPointNorm, { ...norm, fractionBits: 20 }, (m) => [
    ...[fixed(m), vector(m), vector(m)],
  ]),
  fixedPointAddNorm: overStream(12, ops.fixedPointAddNorm, { ...norm, ...step }, (m) => [
    ...[fixed(m), increment(m), vector(m), vector(m)],
  ]),
  gelu: ({ draw, sizes }) => ({
    ...{ op: ops.gelu, attrs: undefined, inputs: [draw([rowsOf(sizes), hiddenOf(sizes)], "bf16")] },
    bytes: 4 * rowsOf(sizes) * hiddenOf(sizes),
  }),
  "sum of rows, 4 widths": ({ draw, sizes }) => ({
    ...{ op: ops.sum, attrs: { axes: [0], keepDims: false }, inputs: [draw([rowsOf(sizes), hiddenOf(sizes)], "bf16")] },
    bytes: 2 * rowsOf(sizes) * hiddenOf(sizes),
  }),
  "sum of rows": ({ draw, sizes }) => ({
    ...{ op: ops.sum, attrs: { axes: [0], keepDims: false }, inputs: [draw([rowsOf(sizes), widthOf(sizes)], "bf16")] },
    bytes: 2 * elementsOf(sizes),
  }),
  dropout: overStream(4, ops.dropout, { p: 0.1, key: randomKey(5) }, (m) => [increment(m)]),
  rope: (make) => {
    const { heads, time } = make.sizes;
    const both = packedHeads(make)
      .narrow(2, 0, 2 * heads)
      .permute([0, 2, 1, 3]);
    const inputs = [both, arange(time, { engine: make.engine })];
    return { op: ops.rope, attrs: { base: 10000, direction: 1 }, inputs, bytes: 8 * elementsOf(make.sizes) };
  },
  softmax: ({ draw, sizes: { chunk, classes } }) => ({
    ...{ op: ops.softmax, attrs: undefined, inputs: [draw([chunk, classes], "bf16")], bytes: 4 * chunk * classes },
  }),
  crossEntropyWithGradient: ({ draw, engine, sizes: { chunk, classes } }) => {
    const [logits, targets] = [draw([chunk, classes], "bf16"), zeros([chunk], { dtype: "i32", engine })];
    const parts = (): readonly Tensor[] => {
      const [loss, lse] = ops.crossEntropy.decompose([logits, targets], undefined) as [Tensor, Tensor];
      return ops.crossEntropyBackward.decompose([logits, targets, lse, loss.onesLike()], undefined);
    };
    const inputs = [logits, targets];
    return { op: ops.crossEntropyWithGradient, attrs: undefined, bytes: 4 * chunk * classes, inputs, parts };
  },
  adamw: adamwCase(false),
  "adamw with a copy in bf16": adamwCase(true),
  attention: attentionCase(false),
  attentionBackward: attentionBackwardCase(false),
  "attention with rotary positions": attentionCase(true),
  "attentionBackward with rotary positions": attentionBackwardCase(true),
  "linear with bias and GELU": ({ draw, sizes }) => ({
    op: ops.linear,
    attrs: { activation: "gelu" },
    inputs: [
      draw([rowsOf(sizes), widthOf(sizes)], "bf16"),
      draw([hiddenOf(sizes), widthOf(sizes)], "bf16"),
      draw([hiddenOf(sizes)], "bf16"),
    ],
    flops: 2 * rowsOf(sizes) * widthOf(sizes) * hiddenOf(sizes),
  }),
  linearActivationBackward: ({ draw, sizes }) => ({
    op: ops.linearActivationBackward,
    attrs: { activation: "gelu", sums: "f32" },
    inputs: [
      draw([rowsOf(sizes), widthOf(sizes)], "bf16"),
      draw([widthOf(sizes), hiddenOf(sizes)], "bf16"),
      draw([rowsOf(sizes), hiddenOf(sizes)], "bf16"),
    ],
    flops: 2 * rowsOf(sizes) * widthOf(sizes) * hiddenOf(sizes),
  }),
  "convolution in f32": convolutionCase(ops.conv2d, "f32"),
  "convolution by the input in f32": convolutionCase(ops.conv2dInputGradient, "f32"),
  "convolution by the weight in f32": convolutionCase(ops.conv2dWeightGradient, "f32"),
  "convolution in bf16": convolutionCase(ops.conv2d, "bf16"),
  "convolution by the input in bf16": convolutionCase(ops.conv2dInputGradient, "bf16"),
  "convolution by the weight in bf16": convolutionCase(ops.conv2dWeightGradient, "bf16"),
};

/** A product of a layer of k inputs and n outputs over m rows: the layer's own, or the gradient of its input or weight. */
export interface GpuProduct {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly way: "forward" | "input" | "weight";
}

/** What computes a product of random numbers. */
export function makeProduct({ m, k, n, way }: GpuProduct, engine: Engine): () => Tensor {
  const draw = (rows: number, columns: number): Tensor =>
    randomNormal([rows, columns], { key: randomKey(rows + columns), engine }).cast("bf16");
  const [x, w, g] = [draw(m, k), draw(n, k), draw(m, n)];
  const ways = { forward: () => x.linear(w), input: () => g.matmul(w), weight: () => g.transpose().matmul(x) };
  return ways[way];
}

/** Matrix products of a training step: of every layer those forward, by the input and by the weight, and the head's. */
export function productsOf(sizes: GpuSizes): GpuProduct[] {
  const [rows, width, hidden] = [rowsOf(sizes), widthOf(sizes), hiddenOf(sizes)];
  const layers = [
    ["queries, keys, values", rows, width, 3 * width],
    ["attention's output", rows, width, width],
    ["up", rows, width, hidden],
    ["down", rows, hidden, width],
    ["head", sizes.chunk, width, sizes.classes],
  ] as const;
  return layers.flatMap(([name, m, k, n]) =>
    (["forward", "input", "weight"] as const).map((way) => ({ name: `${name}, ${way}`, m, k, n, way })),
  );
}

export const gpuCaseNames: readonly string[] = Object.keys(cases);

/** A case's operands live until the scope around ends. */
export function makeGpuCase(name: string, engine: Engine, sizes: GpuSizes): GpuCase {
  let seed = 1;
  const draw = (shape: Shape, dtype: DType): Tensor =>
    engine.scope(() => randomNormal(shape, { key: randomKey(seed++), engine }).cast(dtype));
  return cases[name]!({ sizes, engine, draw });
}
