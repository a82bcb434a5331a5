/** Along one spatial axis: pixels first, first + step, ... are written from places scale n + shift + move i of taps tap + tapStep i. */
export interface Lattice {
  readonly first: number;
  readonly step: number;
  /** Pixels. */
  readonly count: number;
  /** How many taps reach them. */
  readonly taps: number;
  readonly tap: number;
  readonly tapStep: number;
  readonly scale: number;
  readonly shift: number;
  readonly move: number;
}

export interface AxisSizes {
  /** Pixels that are written. */
  readonly to: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

/** Of a convolution: all pixels, and all taps. */
export const forwardLattice = ({ to, kernel, stride, padding, dilation }: AxisSizes): Lattice => ({
  ...{ first: 0, step: 1, count: to, taps: kernel, tap: 0, tapStep: 1 },
  ...{ scale: stride, shift: -padding, move: dilation },
});

/** Of the gradient by the input: pixels whose places are alike under the stride, each with the taps that reach them, perhaps none. */
export function gradientLattices({ to, kernel, stride, padding, dilation }: AxisSizes): Lattice[] {
  return Array.from({ length: Math.min(stride, to) }, (_, first) => {
    const reaching = Array.from({ length: kernel }, (_, i) => i).filter(
      (i) => (first + padding - i * dilation) % stride === 0,
    );
    const [tap = 0, next = tap + 1] = reaching;
    const [tapStep, count] = [next - tap, Math.ceil((to - first) / stride)];
    return {
      ...{ first, step: stride, count, taps: reaching.length, tap, tapStep, scale: 1 },
      ...{ shift: Math.floor((first + padding - tap * dilation) / stride), move: -(tapStep * dilation) / stride },
    };
  });
}
