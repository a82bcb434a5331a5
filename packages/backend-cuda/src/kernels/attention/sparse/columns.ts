import { addressOf, type CudaDevice, type CudaView } from "../../../device/device.ts";
import { type SparseAttrs, type SparseOperands, sizesOf } from "./operands.ts";

/** Keys that share entries: a column of the list. */
export const COLUMN = 64;
/** Parts of equal length that all columns of all heads are cut into, about: enough to keep a device busy to the end. */
const PARTS = 2048;
/** A part has at least so many rows of queries. */
const LEAST_ROWS = 512;

/** Room for a list seen from the keys (sparseList.cu). It follows from the shapes and `mostKeys`: nothing is read back. */
export interface ColumnSizes {
  readonly lists: number;
  readonly count: number;
  readonly mostEntries: number;
  /** Entries of a part. */
  readonly partEntries: number;
  readonly mostParts: number;
  readonly mostPartials: number;
}

/** The same with addresses. */
export interface Columns extends ColumnSizes {
  readonly columns: number;
  readonly entries: number;
  readonly parts: number;
  readonly totals: number;
}

export function columnSizes(operands: SparseOperands, { blockSize, mostKeys }: SparseAttrs): ColumnSizes {
  const { batch, keyHeads, group, s, blocks, slots } = sizesOf(operands);
  const [listBatches, listHeads] = operands.runs.shape as unknown as [number, number];
  const count = Math.ceil(s / COLUMN);
  // n neighbouring keys lie in at most n / 64 + 2 columns.
  const mostEntries = blocks * Math.min(slots * count, Math.ceil(mostKeys / COLUMN) + 2 * slots);
  const least = Math.ceil(LEAST_ROWS / (blockSize * group));
  const partEntries = Math.max(least, Math.ceil((mostEntries * batch * keyHeads) / PARTS));
  const mostParts = Math.floor(mostEntries / partEntries);
  const lists = listBatches * listHeads;
  return { lists, count, mostEntries, partEntries, mostParts, mostPartials: 2 * mostParts };
}

/** Columns that a warp looks for at once. */
const WARP_COLUMNS = 4;
/** Words of a column, and of an entry. */
const WORDS = 4;

/** Turns the list of `runs` round, and calls `use` with where it lies then. */
export function withColumns(
  device: CudaDevice,
  runs: CudaView,
  s: number,
  { blockSize }: SparseAttrs,
  sizes: ColumnSizes,
  use: (columns: Columns) => void,
): void {
  const { lists, count, mostEntries, partEntries, mostParts } = sizes;
  const [, , blocks, slots] = runs.shape as unknown as [number, number, number, number];
  const words = [lists * count * WORDS, lists * mostEntries * WORDS, lists * mostParts, lists];
  const bytes = 4 * words.reduce((sum, n) => sum + n, 0);
  device.withWorkspace(bytes, (address) => {
    const [columns, entries, parts, totals] = words.map(
      (_, i) => address + 4 * words.slice(0, i).reduce((sum, n) => sum + n, 0),
    ) as [number, number, number, number];
    const launch = (name: string, x: number, y: number): void => {
      const kernel = device.kernel({ files: ["list", "sparseList"], constants: { COLUMNS: WARP_COLUMNS } }, name);
      const p = device.parameters.start();
      p.pointer(addressOf(runs)).pointer(columns).pointer(entries).pointer(parts).pointer(totals).long(mostEntries);
      p.ints([mostParts, partEntries, s, blockSize, slots, blocks]);
      device.launch(kernel, x, y);
    };
    const blocksOfWarps = Math.ceil(count / (8 * WARP_COLUMNS));
    launch("listCount", blocksOfWarps, lists);
    launch("listPlace", lists, 1);
    launch("listWrite", blocksOfWarps, lists);
    use({ ...sizes, columns, entries, parts, totals });
  });
}
