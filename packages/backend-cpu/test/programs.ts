import {
  type Activation,
  biasSteps,
  dispatch,
  Engine,
  full,
  ops,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { ReferenceBackend } from "../src/index.ts";

/** A computation on sizes that cross the blocks of the kernels, which the contract's small samples do not. */
export interface Program {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  /** On inputs of these shapes, in float32 or float64. */
  readonly run: (engine: Engine, inputs: readonly Tensor[]) => readonly Tensor[];
}

const attention = (
  name: string,
  [b, h, hk, t, s, d, e]: readonly [number, number, number, number, number, number, number],
  attrs: { readonly scale: number; readonly isCausal: boolean; readonly window?: number },
): Program => ({
  name: `attention, ${name}`,
  shapes: [
    [b, h, t, d],
    [b, hk, s, d],
    [b, hk, s, e],
    [b, h, t, e],
  ],
  run: (engine, [q, k, v, g]) => {
    const [o, lse] = dispatch(engine, ops.attention, [q!, k!, v!], attrs) as [Tensor, Tensor];
    return [o, lse, ...dispatch(engine, ops.attentionBackward, [q!, k!, v!, o, lse, g!], attrs)];
  },
});

/** Runs that overlap and end inside of blocks of scores, a list a head; every third block of queries sees nothing. */
function listOf(engine: Engine, heads: number, blocks: number, s: number): Tensor {
  const words = Array.from({ length: heads * blocks }, (_, i) => {
    if (i % 3 === 2) return [0, 0, 0, 0, s, s, 0, s];
    const from = (i * 53) % (s - 260);
    return [from, from + 250 + (i % 7), -(2 ** 30), 2 ** 30, 0, s, i * 3 - 10, i * 3 + 60];
  });
  return tensor(Int32Array.from(words.flat()), { engine }).reshape([1, heads, blocks, 2, 4]);
}

const sparseAttention = (
  name: string,
  [b, h, hk, t, s, d, e]: readonly [number, number, number, number, number, number, number],
  blockSize: number,
  bias?: "key" | "relative" | "full",
): Program => ({
  name: `attention to a list, ${name}`,
  shapes: [
    [b, h, t, d],
    [b, hk, s, d],
    [b, hk, s, e],
    [b, h, t, e],
    [b, h, t],
    ...(bias === undefined ? [] : [[1, h, biasSteps(bias, t, s).size]]),
  ],
  run: (engine, [q, k, v, g, ofLse, ...added]) => {
    const attrs = { scale: 0.4, blockSize, mostKeys: 600, ...(bias === undefined ? {} : { bias }) };
    const list = listOf(engine, hk, Math.ceil(t / blockSize), s);
    const [o, lse] = dispatch(engine, ops.sparseAttention, [q!, k!, v!, list, ...added], attrs) as [Tensor, Tensor];
    const inputs = [q!, k!, v!, list, o, lse, g!, ofLse!, ...added];
    const needsBias = bias !== undefined;
    // Infinities of queries that see nothing would hide the error of the others.
    const finite = lse.equal(Number.NEGATIVE_INFINITY).where(0, lse);
    return [o, finite, ...dispatch(engine, ops.sparseAttentionBackward, inputs, { ...attrs, needsBias })];
  },
});

type Quadruple = readonly [number, number, number, number];
type Pair = readonly [number, number];
interface ConvAttrs {
  readonly stride: Pair;
  readonly padding: Pair;
  readonly dilation: Pair;
  readonly groups: number;
}
const plainConv: ConvAttrs = { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1 };

/** A convolution and both its gradients, from its own output. */
const convolution = (name: string, x: Quadruple, w: Quadruple, changes: Partial<ConvAttrs>): Program => ({
  name: `convolution, ${name}`,
  shapes: [x, w],
  run: (engine, [image, weight]) => {
    const attrs = { ...plainConv, ...changes };
    const [y] = dispatch(engine, ops.conv2d, [image!, weight!], attrs) as [Tensor];
    const [dx] = dispatch(engine, ops.conv2dInputGradient, [y, weight!], { ...attrs, shape: x }) as [Tensor];
    const [dw] = dispatch(engine, ops.conv2dWeightGradient, [y, image!], { ...attrs, shape: w }) as [Tensor];
    return [y, dx, dw];
  },
});

const targets = (engine: Engine, rows: number, classes: number): Tensor =>
  tensor(
    Int32Array.from({ length: rows }, (_, i) => ((i * 37) % (classes + 1)) - 1),
    { engine },
  );

export const programs: readonly Program[] = [
  attention("causal, several blocks of queries and keys", [1, 2, 2, 150, 300, 10, 7], { scale: 0.3, isCausal: true }),
  attention("every key, grouped heads", [2, 4, 2, 65, 270, 8, 8], { scale: 0.35, isCausal: false }),
  attention("a window narrower than a block", [1, 2, 1, 300, 300, 5, 6], { scale: 0.4, isCausal: true, window: 40 }),
  sparseAttention("blocks of one size with those of scores", [1, 2, 2, 130, 300, 9, 6], 48),
  sparseAttention("small blocks, one head of keys, a bias a key", [1, 3, 1, 75, 520, 8, 10], 10, "key"),
  sparseAttention("large blocks, a bias a distance", [2, 2, 1, 130, 290, 5, 6], 70, "relative"),
  sparseAttention("a query at a time, a bias a pair", [1, 2, 2, 23, 280, 4, 4], 1, "full"),
  convolution("blocks of positions and of taps", [2, 33, 17, 19], [20, 33, 3, 3], { padding: [1, 1] }),
  convolution("strided, dilated, in groups", [2, 6, 40, 23], [8, 3, 3, 2], {
    ...{ stride: [2, 3], padding: [2, 1], dilation: [2, 1], groups: 2 },
  }),
  convolution("over time, bands of outputs", [2, 3, 1, 700], [50, 3, 1, 5], { padding: [0, 2] }),
  convolution("a kernel of more taps than a block", [1, 2, 30, 31], [3, 2, 17, 17], { padding: [3, 9] }),
  {
    name: "layer norm, many rows of an odd width",
    shapes: [[200, 83], [83], [83], [200, 83]],
    run: (engine, [x, w, b, g]) => {
      const [y, mean, inverse] = dispatch(engine, ops.layerNorm, [x!, w!, b!], { eps: 1e-5 }) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      return [y, ...dispatch(engine, ops.layerNormBackward, [x!, w!, mean, inverse, g!], { eps: 1e-5 })];
    },
  },
  {
    name: "RMS norm, many rows of an odd width",
    shapes: [[200, 83], [83], [200, 83]],
    run: (engine, [x, w, g]) => {
      const [y, inverse] = dispatch(engine, ops.rmsNorm, [x!, w!], { eps: 1e-5 }) as [Tensor, Tensor];
      return [y, ...dispatch(engine, ops.rmsNormBackward, [x!, w!, inverse, g!], { eps: 1e-5 })];
    },
  },
  {
    name: "softmax and its gradient",
    shapes: [
      [40, 301],
      [40, 301],
    ],
    run: (engine, [x, g]) => {
      const [y] = dispatch(engine, ops.softmax, [x!], undefined) as [Tensor];
      return [
        y,
        ...dispatch(engine, ops.softmaxBackward, [y, g!], undefined),
        ...dispatch(engine, ops.logSoftmax, [x!], undefined),
      ];
    },
  },
  {
    name: "cross-entropy and its gradient",
    shapes: [[50, 257], [50]],
    run: (engine, [x, g]) => {
      const t = targets(engine, 50, 257);
      const [loss, lse] = dispatch(engine, ops.crossEntropy, [x!, t], undefined) as [Tensor, Tensor];
      return [loss, lse, ...dispatch(engine, ops.crossEntropyBackward, [x!, t, lse, g!], undefined)];
    },
  },
  {
    name: "rotary positions, there and back",
    shapes: [[3, 2, 45, 26]],
    run: (engine, [x]) => {
      const places = tensor(
        Int32Array.from({ length: 45 }, (_, i) => i),
        { engine },
      );
      return ([1, -1] as const).flatMap((direction) =>
        dispatch(engine, ops.rope, [x!, places], { base: 1e4, direction }),
      );
    },
  },
  {
    name: "random words, dropout, the norm of several tensors, an AdamW and a Lion step",
    shapes: [[9001], [9001], [37]],
    run: (engine, [x, g, small]) => {
      const key = randomKey(5);
      const wide = x!.dtype === "f64";
      const [dropped] = dispatch(engine, ops.dropout, [x!], { p: 0.3, key }) as [Tensor];
      const [norm] = dispatch(engine, ops.globalNorm, [x!, small!, g!], undefined) as [Tensor];
      const [words] = dispatch(engine, ops.randomBits, [], { shape: [1003], key }) as [Tensor];
      const state = [x!.mul(0.5), g!, x!.mul(0.1), x!.square()];
      const attrs = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 };
      const factor = full([], 0.5, { engine, dtype: wide ? "f64" : "f32" });
      const schedule = tensor([0.01, 1 - 0.9 ** 3, 1 - 0.99 ** 3], { engine, dtype: factor.dtype });
      const stepped = dispatch(engine, ops.adamw, [factor, schedule, ...state], attrs, { donates: true });
      // Momentum and gradient point the same way: the sign of their mean is not for rounding to decide.
      const leaps = [x!.mul(0.5), g!, g!.mul(0.3)];
      const { eps: _, ...lion } = attrs;
      const leapt = dispatch(engine, ops.lion, [factor, schedule.narrow(0, 0, 1), ...leaps], lion, { donates: true });
      return [dropped, norm, words.cast("f64"), ...stepped, ...leapt];
    },
  },
  {
    name: "sums of rows, of columns, and of the middle",
    shapes: [[3, 150, 37]],
    run: (_, [x]) => [x!.sum(-1), x!.reshape([450, 37]).sum(0), x!.sum(1), x!.sum()],
  },
  {
    name: "rows by index, and sums by index",
    shapes: [
      [50, 37],
      [700, 37],
    ],
    run: (engine, [table, updates]) => {
      const places = tensor(
        Int32Array.from({ length: 700 }, (_, i) => (i * i) % 50),
        { engine },
      );
      const [sums] = dispatch(engine, ops.scatterAdd, [places, updates!], { axis: 0, size: 50 }) as [Tensor];
      return [table!.take(places, 0), sums];
    },
  },
  {
    name: "products, plain, batched and transposed",
    shapes: [
      [3, 70, 290],
      [290, 35],
      [35, 290],
    ],
    run: (_, [a, b, c]) => [a!.matmul(b!), a!.matmul(c!.transpose()), a!.transpose().matmul(a!)],
  },
  {
    name: "matrices times one to four vectors, from either side, in either order, biased and batched",
    shapes: [[4, 4101], [37, 4101], [4, 301], [301, 1030], [1030], [5, 3, 131], [5, 131, 67]],
    run: (engine, [long, rows, short, columns, bias, q, k]) => {
      const few = [1, 2, 3, 4].flatMap((vectors) => {
        const [x, y] = [long!.narrow(0, 0, vectors), short!.narrow(0, 0, vectors)];
        return [rows!.matmul(x.transpose()), y.matmul(columns!), columns!.transpose().matmul(y.transpose())];
      });
      const linear = (x: Tensor, w: Tensor, b: readonly Tensor[]): Tensor[] =>
        dispatch(engine, ops.linear, [x, w, ...b], { activation: "none" });
      const turned = columns!.transpose().contiguous();
      const biased = [
        ...linear(short!.narrow(0, 0, 1), turned, [bias!]),
        ...linear(turned, short!, [bias!.narrow(0, 0, 4)]),
      ];
      const flipped = k!.transpose().contiguous();
      const batched = [q!.matmul(k!), q!.matmul(flipped.transpose()), flipped.matmul(q!.transpose())];
      return [...few, ...biased, ...batched];
    },
  },
  {
    // Divided by rows, several parts a thread; by columns; one row; by rows of a weight too large for the shared scratch (on one thread).
    name: "layers with an activation behind the product",
    shapes: [[310, 21], [75, 21], [75], [13, 4200], [260, 4200]],
    run: (engine, [x, w, b, long, large]) => {
      const layer = (activation: Activation, ...inputs: Tensor[]): Tensor[] =>
        dispatch(engine, ops.linear, inputs, { activation });
      return [
        ...layer("gelu", x!, w!, b!),
        ...layer("silu", x!.narrow(0, 0, 17), w!, b!),
        ...layer("geluExact", x!.narrow(0, 0, 1), w!),
        ...layer("relu", long!.mul(0.02), large!),
      ];
    },
  },
  {
    name: "moves: pad, concat, a slice written, a permuted copy",
    shapes: [
      [5, 33, 18],
      [5, 7, 18],
    ],
    run: (_, [a, b]) => [
      a!.pad(
        [
          [0, 1],
          [2, 3],
          [1, 0],
        ],
        0.5,
      ),
      a!.concat([b!], 1),
      a!.permute([2, 0, 1]).contiguous(),
    ],
  },
];

/** The inputs of a program, the same numbers on every engine. */
const plain = new Engine(new ReferenceBackend());

const drawn = new Map<string, Float32Array>();
/** Normal numbers of a shape, the `i`th of a program's: drawn once. */
function numbers(shape: readonly number[], i: number): Float32Array {
  const name = `${shape} ${i}`;
  let values = drawn.get(name);
  if (values === undefined) {
    values = plain.scope(() =>
      randomNormal(shape, { key: randomKey(i + 1), engine: plain }).dataSync(),
    ) as Float32Array;
    drawn.set(name, values);
  }
  return values;
}

/** The same numbers on every backend: those of the oracle's generator, whose logarithms and cosines are other kernels than some tier's. */
export function inputsOf({ shapes }: Program, engine: Engine, dtype: "f32" | "f64"): Tensor[] {
  return shapes.map((shape, i) => {
    const given = tensor(numbers(shape, i), { shape, engine });
    return dtype === "f32" ? given : given.cast("f64");
  });
}
