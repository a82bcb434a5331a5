// Direct convolutions, one thread an output: x [n, channels, h, w], weight [out, perGroup, kh, kw], y [n, out, rows, columns].
// Sums run in one fixed order; what the padding adds is zero times a weight. What serves float64, and groups too narrow for convTiles.cu. T.

typedef Number<T>::Wide W;

struct Conv {
  const T* x;  // or the output's gradient
  const T* w;  // or the input
  T* y;
  u64 elements;
  int images, channels, height, width, out, perGroup, kh, kw, rows, columns;
  int strideY, strideX, padY, padX, stepY, stepX;
};

KERNEL(conv2d, Conv, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.elements) return;
  const int c = at % p.columns, r = at / p.columns % p.rows, o = at / p.columns / p.rows % p.out, n = at / p.columns / p.rows / p.out;
  const int group = o / (p.out / (p.channels / p.perGroup));
  W sum = 0;
  for (int g = 0; g < p.perGroup; g++)
    for (int i = 0; i < p.kh; i++)
      for (int j = 0; j < p.kw; j++) {
        const int y = r * p.strideY - p.padY + i * p.stepY, x = c * p.strideX - p.padX + j * p.stepX;
        const bool isPixel = y >= 0 && y < p.height && x >= 0 && x < p.width;
        const W pixel = isPixel ? wide(p.x[(((i64)n * p.channels + group * p.perGroup + g) * p.height + y) * p.width + x]) : (W)0;
        sum = multiplyAdd(pixel, wide(p.w[(((i64)o * p.perGroup + g) * p.kh + i) * p.kw + j]), sum);
      }
  p.y[at] = narrow<T>(sum);
}

// The gradient by the input: `x` is the output's gradient, `y` like the input.
KERNEL(conv2dInputGradient, Conv, 256) {
  const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
  if (at >= p.elements) return;
  const int x = at % p.width, y = at / p.width % p.height, channel = at / p.width / p.height % p.channels, n = at / p.width / p.height / p.channels;
  const int perOut = p.out / (p.channels / p.perGroup), group = channel / p.perGroup, g = channel % p.perGroup;
  W sum = 0;
  for (int o = group * perOut; o < (group + 1) * perOut; o++)
    for (int i = 0; i < p.kh; i++)
      for (int j = 0; j < p.kw; j++) {
        const int top = y + p.padY - i * p.stepY, left = x + p.padX - j * p.stepX;
        if (top < 0 || left < 0 || top % p.strideY != 0 || left % p.strideX != 0) continue;
        const int r = top / p.strideY, c = left / p.strideX;
        if (r >= p.rows || c >= p.columns) continue;
        sum = multiplyAdd(wide(p.x[(((i64)n * p.out + o) * p.rows + r) * p.columns + c]),
                          wide(p.w[(((i64)o * p.perGroup + g) * p.kh + i) * p.kw + j]), sum);
      }
  p.y[at] = narrow<T>(sum);
}

// The gradient by the weight, one block an element: `x` is the output's gradient, `w` the input, `y` like the weight.
KERNEL(conv2dWeightGradient, Conv, 256) {
  __shared__ W shared[33];
  const u64 at = blockIdx.x;
  const int j = at % p.kw, i = at / p.kw % p.kh, g = at / p.kw / p.kh % p.perGroup, o = at / p.kw / p.kh / p.perGroup;
  const int channel = o / (p.out / (p.channels / p.perGroup)) * p.perGroup + g;
  W sum = 0;
  for (u64 k = threadIdx.x; k < (u64)p.images * p.rows * p.columns; k += 256) {
    const int c = k % p.columns, r = k / p.columns % p.rows, n = k / p.columns / p.rows;
    const int y = r * p.strideY - p.padY + i * p.stepY, x = c * p.strideX - p.padX + j * p.stepX;
    const bool isPixel = y >= 0 && y < p.height && x >= 0 && x < p.width;
    const W pixel = isPixel ? wide(p.w[(((i64)n * p.channels + channel) * p.height + y) * p.width + x]) : (W)0;
    sum = multiplyAdd(wide(p.x[(((i64)n * p.out + o) * p.rows + r) * p.columns + c]), pixel, sum);
  }
  sum = foldBlock<Sum>(sum, shared);
  if (threadIdx.x == 0) p.y[at] = narrow<T>(sum);
}
