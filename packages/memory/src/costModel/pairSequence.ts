/**
 * A cyclic sequence of numbers below `n` in which every pair of neighbours comes once (a de Bruijn sequence of order 2): an Euler circuit
 * of the complete graph with loops. Source: Hierholzer 1873.
 */
export function pairSequence(n: number): number[] {
  const unused = Array.from({ length: n }, () => Array.from({ length: n }, (_, k) => n - 1 - k));
  const [stack, circuit] = [[0], [] as number[]];
  while (stack.length > 0) {
    const next = unused[stack.at(-1)!]!.pop();
    if (next === undefined) circuit.push(stack.pop()!);
    else stack.push(next);
  }
  return circuit.slice(1).reverse();
}
