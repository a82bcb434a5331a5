/** 1 / (1 + e^-x) in float64, in the form that neither overflows nor cancels: e^-|x| is at most 1. */
export function sigmoid(x: number): number {
  const t = Math.exp(-Math.abs(x));
  return (x < 0 ? t : 1) / (1 + t);
}
