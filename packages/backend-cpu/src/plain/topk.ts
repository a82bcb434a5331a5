import { dtypes, type FusedKernels, isContiguous, numel, type TypedArray } from "@revnet-zero/tensor";
import { around, type CpuView, dense, store } from "../buffer.ts";
import { sortKernel } from "./sort.ts";

/** Up to here a list of the largest so far is kept in order, element by element; beyond it all are sorted. */
const FEW = 64;

/** The k largest, largest first and equal ones in their first order, NaN last: what sorting gives, without sorting the rest. */
export const topkKernel: Required<Pick<FusedKernels<TypedArray>, "topk">> = {
  topk: {
    run: ([x], [values, indices], { axis, k }) => {
      if (k > FEW) {
        takeSorted(x!, values!, indices!, axis, k);
        return;
      }
      const { outer, size, inner } = around(x!.shape, axis);
      const source = wordsOf(x!) ?? dense(x!);
      const [best, places] = [new Float64Array(k), new Int32Array(k)];
      const found = new Float64Array(outer * k * inner);
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) {
          const first = o * size * inner + i;
          for (let n = 0; n < size; n++) {
            const value = source[first + n * inner]!;
            // Most are less than the least of the best; NaN, which is last, compares with nothing.
            if (n >= k && value <= best[k - 1]!) continue;
            insert(best, places, value, n, Math.min(n, k));
          }
          for (let r = 0; r < k; r++) {
            const to = (o * k + r) * inner + i;
            found[to] = best[r]!;
            indices!.data[to] = places[r]!;
          }
        }
      store(values!, found);
    },
  },
};

/** The elements themselves, where they lie together and are numbers. */
function wordsOf(view: CpuView): Float32Array | Int32Array | undefined {
  const { data, dtype, offset, shape } = view;
  if ((dtype !== "f32" && dtype !== "i32") || !isContiguous(view)) return undefined;
  return (data as Float32Array | Int32Array).subarray(offset, offset + numel(shape));
}

/** Puts a value into an ordered list of `count`, after equal ones; what falls off the end is gone. */
function insert(best: Float64Array, places: Int32Array, value: number, place: number, count: number): void {
  let at = count;
  while (at > 0 && (value > best[at - 1]! || (Number.isNaN(best[at - 1]!) && !Number.isNaN(value)))) at--;
  for (let r = Math.min(count, best.length - 1); r > at; r--) {
    best[r] = best[r - 1]!;
    places[r] = places[r - 1]!;
  }
  if (at === best.length) return;
  best[at] = value;
  places[at] = place;
}

function takeSorted(x: CpuView, values: CpuView, indices: CpuView, axis: number, k: number): void {
  const full = (like: CpuView): CpuView => {
    const data = new dtypes[like.dtype].array(numel(x.shape)) as TypedArray;
    return { ...like, data, shape: x.shape };
  };
  const [sorted, places] = [full(values), full(indices)];
  sortKernel.sort.run([x], [sorted, places], { axis, descending: true });
  const { outer, size, inner } = around(x.shape, axis);
  for (let o = 0; o < outer; o++) {
    const from = o * size * inner;
    values.data.set(sorted.data.subarray(from, from + k * inner) as never, o * k * inner);
    indices.data.set(places.data.subarray(from, from + k * inner) as never, o * k * inner);
  }
}
