const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** The bits of x as a float32: how a kernel, whose arguments are integers, is given a float. */
export function floatBits(x: number): number {
  float[0] = x;
  return bits[0]!;
}
