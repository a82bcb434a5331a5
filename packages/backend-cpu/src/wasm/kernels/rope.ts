import { type BufferView, type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import type { Device } from "../device/device.ts";
import { emitRope } from "../rows/rope.ts";
import type { ElementwiseKernels } from "./elementwise.ts";
import { floatBits } from "./floatBits.ts";
import { withRows } from "./strided.ts";

type Kernel = Required<Pick<FusedKernels<TypedArray>, "rope">>;
type View = BufferView<TypedArray>;

interface Tables {
  readonly base: number;
  readonly half: number;
  readonly places: Int32Array;
  readonly cosines: Float32Array;
  readonly sines: Float32Array;
}

/** Sequences of the same positions come again in every layer: the last few tables are kept. */
const KEPT = 4;

/** Rotary positions; angles and their functions in float64, rounded once. */
export function ropeKernel(device: Device, elementwise: ElementwiseKernels): Kernel {
  const { multiply } = device.tier;
  const { rope } = device.load((m) => emitRope(m, multiply), ["rope"]);
  const kept: Tables[] = [];

  const tablesFor = (places: Int32Array, base: number, half: number): Tables => {
    const isIt = (t: Tables): boolean => t.base === base && t.half === half && sameWords(t.places, places);
    const found = kept.findIndex(isIt);
    const tables = found < 0 ? makeTables(device, places, base, half) : kept.splice(found, 1)[0]!;
    kept.unshift(tables);
    if (kept.length > KEPT) {
      const { cosines, sines } = kept.pop()!;
      device.heap.free(cosines);
      device.heap.free(sines);
    }
    return tables;
  };

  return {
    rope: {
      run: ([x, positions], [y], { base, direction }) => {
        const [time, dim] = x!.shape.slice(-2) as [number, number];
        const half = dim / 2;
        const { cosines, sines } = tablesFor(wordsOf(positions!), base, half);
        withRows(device, elementwise, x!, 2, (rows, [inner, outer]) => {
          const units = numel(x!.shape) / Math.max(1, dim);
          const at = [device.addressOf(rows), cosines.byteOffset, sines.byteOffset, device.addressOf(y!)];
          const sizes = [time, half, floatBits(direction === 1 ? 0 : -0)];
          const steps = [4 * rows.strides[rows.strides.length - 2]!, inner!.size, 4 * inner!.step, 4 * outer!.step];
          device.run(rope, { units, nanosecondsPerUnit: 0.4 * dim }, ...at, ...sizes, ...steps);
        });
      },
    },
  };
}

/** Positions: one axis, of any stride. */
function wordsOf({ data, offset, shape, strides }: View): Int32Array {
  const [count, step] = [shape[0]!, strides[0]!];
  const words = data as Int32Array;
  if (step === 1) return words.subarray(offset, offset + count);
  return Int32Array.from({ length: count }, (_, i) => words[offset + i * step]!);
}

function sameWords(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function makeTables({ heap }: Device, places: Int32Array, base: number, half: number): Tables {
  const size = places.length * half;
  const cosines = heap.allocate("f32", size) as Float32Array;
  const sines = heap.allocate("f32", size) as Float32Array;
  for (let i = 0; i < half; i++) {
    const frequency = base ** (-i / half);
    for (let t = 0; t < places.length; t++) {
      cosines[t * half + i] = Math.cos(places[t]! * frequency);
      sines[t * half + i] = Math.sin(places[t]! * frequency);
    }
  }
  return { base, half, places: places.slice(), cosines, sines };
}
