import { numel } from "@revnet-zero/tensor";
import { type CpuView, decoder, encoder } from "../buffer.ts";
import { microkernel, TILE, tile } from "./microkernel.ts";
import { grown, pack, padded } from "./panels.ts";

/** What happens to a finished sum before it is stored: row, column, value. */
export type Epilogue = (value: number, column: number) => number;

/** A matrix in memory: element (i, j) at `start + i * rowStep + j * columnStep`. */
interface Matrix {
  readonly view: CpuView;
  readonly start: number;
  readonly rowStep: number;
  readonly columnStep: number;
}

/** Panels are packed into these, grown when needed. */
let packedA: Float64Array = new Float64Array(0);
let packedB: Float64Array = new Float64Array(0);

/** How to read the words of a matrix, where they are not numbers already. */
const words = ({ view: { dtype } }: Matrix): ((word: number) => number) | undefined =>
  dtype === "bf16" || dtype === "f16" ? decoder(dtype) : undefined;

function product(
  a: Matrix,
  b: Matrix,
  y: CpuView,
  yStart: number,
  m: number,
  k: number,
  n: number,
  epilogue?: Epilogue,
): void {
  packedA = grown(packedA, padded(m) * k);
  packedB = grown(packedB, padded(n) * k);
  pack(packedA, a.view.data, { start: a.start, count: m, lineStep: a.rowStep, k, kStep: a.columnStep }, words(a));
  pack(packedB, b.view.data, { start: b.start, count: n, lineStep: b.columnStep, k, kStep: b.rowStep }, words(b));
  const out = y.data;
  const encode = encoder(y.dtype);
  const isPlain = y.dtype !== "bf16" && y.dtype !== "f16";
  for (let j = 0; j < n; j += TILE) {
    const columns = Math.min(TILE, n - j);
    for (let i = 0; i < m; i += TILE) {
      microkernel(k, packedA, i * k, packedB, j * k);
      const rows = Math.min(TILE, m - i);
      for (let r = 0; r < rows; r++) {
        const to = yStart + (i + r) * n + j;
        for (let c = 0; c < columns; c++) {
          const sum = tile[r * TILE + c]!;
          const v = epilogue === undefined ? sum : epilogue(sum, j + c);
          out[to + c] = isPlain ? v : encode(v);
        }
      }
    }
  }
}

/** Offsets of the matrices of a batched operand, its batch axes broadcast to `batch`. */
function matrices(x: CpuView, batch: readonly number[]): (index: number) => Matrix {
  const rank = x.shape.length;
  const lead = batch.length - (rank - 2);
  const steps = batch.map((_, d) => (d < lead || x.shape[d - lead] === 1 ? 0 : x.strides[d - lead]!));
  const [rowStep, columnStep] = x.strides.slice(-2) as [number, number];
  return (index) => {
    let start = x.offset;
    for (let d = batch.length - 1, rest = index; d >= 0; d--) {
      start += (rest % batch[d]!) * steps[d]!;
      rest = Math.floor(rest / batch[d]!);
    }
    return { view: x, start, rowStep, columnStep };
  };
}

/** y = a · b, every sum over ascending k in float64 and rounded once. */
export function matmul(a: CpuView, b: CpuView, y: CpuView): void {
  const batch = y.shape.slice(0, -2);
  const [m, n] = y.shape.slice(-2) as [number, number];
  const k = a.shape[a.shape.length - 1]!;
  const [aAt, bAt] = [matrices(a, batch), matrices(b, batch)];
  for (let s = 0; s < numel(batch); s++) product(aAt(s), bAt(s), y, s * m * n, m, k, n);
}

/** y = epilogue(x · wᵀ) for x `[..., in]`, dense or strided over two axes, and w `[out, in]`. */
export function rowsTimesTransposed(x: CpuView, w: CpuView, y: CpuView, epilogue: Epilogue): void {
  const [n, k] = w.shape as [number, number];
  const m = numel(x.shape.slice(0, -1));
  const a: Matrix = { view: x, start: x.offset, rowStep: k, columnStep: 1 };
  const b: Matrix = { view: w, start: w.offset, rowStep: w.strides[1]!, columnStep: w.strides[0]! };
  product(a, b, y, 0, m, k, n, epilogue);
}
