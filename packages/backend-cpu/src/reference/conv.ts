import { numel, type PrimitiveKernels, type Shape, type TypedArray } from "@revnet-zero/tensor";
import { dense, store } from "../buffer.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "conv2d" | "conv2dInputGradient" | "conv2dWeightGradient">;
type Attrs = Parameters<Kernels["conv2d"]["run"]>[2];

/**
 * Calls `visit` with the flat positions of every (output, input, weight) triple that a convolution multiplies. The zeros around the
 * image are multiplied like its pixels (a weight that is infinite makes NaN of them): their position is -1.
 */
function triples(x: Shape, w: Shape, y: Shape, attrs: Attrs, visit: (y: number, x: number, w: number) => void): void {
  const { stride, padding, dilation, groups } = attrs;
  const [batch, channels, height, width] = x as [number, number, number, number];
  const [out, perGroup, kh, kw] = w as [number, number, number, number];
  const [, , rows, columns] = y as [number, number, number, number];
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < out; o++)
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++)
          for (let g = 0; g < perGroup; g++)
            for (let i = 0; i < kh; i++)
              for (let j = 0; j < kw; j++) {
                const channel = Math.floor(o / (out / groups)) * perGroup + g;
                const row = r * stride[0] - padding[0] + i * dilation[0];
                const column = c * stride[1] - padding[1] + j * dilation[1];
                const isPixel = row >= 0 && row < height && column >= 0 && column < width;
                visit(
                  ((n * out + o) * rows + r) * columns + c,
                  isPixel ? ((n * channels + channel) * height + row) * width + column : -1,
                  ((o * perGroup + g) * kh + i) * kw + j,
                );
              }
}

export const convKernels: Kernels = {
  conv2d: {
    run: ([x, w], [y], attrs) => {
      const [X, W, Y] = [dense(x!), dense(w!), new Float64Array(numel(y!.shape))];
      triples(x!.shape, w!.shape, y!.shape, attrs, (a, b, c) => {
        Y[a]! += (X[b] ?? 0) * W[c]!;
      });
      store(y!, Y);
    },
  },
  conv2dInputGradient: {
    run: ([g, w], [x], attrs) => {
      const [G, W, X] = [dense(g!), dense(w!), new Float64Array(numel(x!.shape))];
      triples(x!.shape, w!.shape, g!.shape, attrs, (a, b, c) => {
        if (b >= 0) X[b]! += G[a]! * W[c]!;
      });
      store(x!, X);
    },
  },
  conv2dWeightGradient: {
    run: ([g, x], [w], attrs) => {
      const [G, X, W] = [dense(g!), dense(x!), new Float64Array(numel(w!.shape))];
      triples(x!.shape, w!.shape, g!.shape, attrs, (a, b, c) => {
        W[c]! += G[a]! * (X[b] ?? 0);
      });
      store(w!, W);
    },
  },
};
