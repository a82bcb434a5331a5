import { numel } from "@revnet-zero/tensor";
import { addressOf, type CudaDevice } from "../../../device/device.ts";
import { cTypes, type KernelUnit } from "../../../device/sources.ts";
import { COLUMN } from "./columns.ts";
import { packSparse, type SparseAttrs, type SparseOperands, sizesOf, type Workspace } from "./operands.ts";

/** The widest head that tiles take. */
const WIDEST = 128;
/** The most heads of all batches: they are the grid's second axis. */
const MOST_HEADS = 65535;
/** Rows of a warp, and warps of a block of queries at most. */
const WARP_ROWS = 16;
const MOST_WARPS = 4;

/** Whether tensor cores serve: what they multiply, and heads that fit. */
export function takesTiles(operands: SparseOperands): boolean {
  const { dtype } = operands.q;
  const { batch, heads, d, e } = sizesOf(operands);
  return (dtype === "bf16" || dtype === "f16") && Math.max(d, e) <= WIDEST && batch * heads <= MOST_HEADS;
}

/** Kernels of tiles: those of queries with as many warps as a row of the list has use for, those of keys. */
type Side = "forward" | "queries" | "keys";
const files: Readonly<Record<Side, readonly string[]>> = {
  forward: ["sparseTiles", "sparseTilesForward"],
  queries: ["sparseTiles", "sparseTilesQueries"],
  keys: ["sparseTilesKeys"],
};

/** A multiprocessor's register file holds so many blocks of four warps: fewer where sums are wide, or there are two of them. */
const sharing = (side: Side, width: number, step: number): number =>
  width > 64 || (side === "keys" && step > 32) ? 2 : 3;

/**
 * What a tile holds of the other side: less where more sums are held beside it, a bias is looked up pair by pair, or one warp loads it, so that shared
 * memory holds the tiles of as many warps. Keys prefer tiles that are part of one block of queries.
 */
function stepOf(side: Side, width: number, warps: number, { bias, blockSize }: SparseAttrs): number {
  const isPaired = bias !== undefined && bias !== "key";
  const isNarrow = width > 64 || isPaired || warps === 1 || (side === "keys" && blockSize % 64 !== 0);
  return isNarrow ? 32 : 64;
}

const widthOf = ({ d, e }: { readonly d: number; readonly e: number }): number =>
  Math.max(16, 16 * Math.ceil(Math.max(d, e) / 16));

function warpsOf(operands: SparseOperands, { blockSize }: SparseAttrs): number {
  const rows = sizesOf(operands).group * blockSize;
  return rows > 2 * WARP_ROWS ? MOST_WARPS : rows > WARP_ROWS ? 2 : 1;
}

/** How a tile reads the bias: none; a number a key, the same for all rows of a tile; or pair by pair. */
function biasOf(operands: SparseOperands, attrs: SparseAttrs, step: number): 0 | 1 | 2 {
  const { bias } = operands;
  if (bias === undefined) return 0;
  const isOneHead = bias.shape[1] === 1 || sizesOf(operands).group === 1 || attrs.blockSize % step === 0;
  return attrs.bias === "key" && isOneHead ? 1 : 2;
}

function unitOf(side: Side, operands: SparseOperands, attrs: SparseAttrs): KernelUnit {
  const width = widthOf(sizesOf(operands));
  const warps = side === "keys" ? MOST_WARPS : warpsOf(operands, attrs);
  const step = stepOf(side, width, warps, attrs);
  const bias = biasOf(operands, attrs, side === "keys" ? step : WARP_ROWS * warps);
  return {
    files: ["heads", "list", "sparse", "tensorCore", "tiles", ...files[side]],
    types: { T: cTypes[operands.q.dtype] },
    constants: {
      ...{
        D: width,
        E: 1,
        WARPS: warps,
        STEP: step,
        BIAS: bias,
        SHARING: (MOST_WARPS / warps) * sharing(side, width, step),
      },
      ...(side === "keys" && { UNIFORM: Number(attrs.blockSize % step === 0) }),
    },
  };
}

/** Runs a kernel of queries: the rows of a list's row, in as many blocks as they need, for every key head. */
export function launchTilesOfQueries(
  device: CudaDevice,
  side: "forward" | "queries",
  operands: SparseOperands,
  attrs: SparseAttrs,
  workspace: Workspace,
): void {
  const { batch, keyHeads, group, blocks } = sizesOf(operands);
  const rows = WARP_ROWS * warpsOf(operands, attrs);
  const kernel = device.kernel(
    unitOf(side, operands, attrs),
    side === "forward" ? "sparseTilesForward" : "sparseTilesQueries",
  );
  packSparse(device, operands, attrs, workspace);
  const tiles = Math.ceil((group * attrs.blockSize) / rows);
  device.launch(kernel, blocks * tiles, batch * keyHeads, 1, 2 * rows);
}

/** Bytes of the sums of parts, of dk and dv or of a bias. */
export function partialBytes(operands: SparseOperands, mostPartials: number): number {
  const sizes = sizesOf(operands);
  const ofKeys = sizes.batch * sizes.keyHeads * 2 * widthOf(sizes);
  return 4 * mostPartials * COLUMN * Math.max(ofKeys, sizes.batch * sizes.heads);
}

/** Runs the pass over keys for dk and dv, or for the gradient by a bias a key, and adds up what was cut. */
export function launchTilesOfKeys(
  device: CudaDevice,
  wants: "keys" | "bias",
  operands: SparseOperands,
  attrs: SparseAttrs,
  workspace: Required<Workspace>,
): void {
  const { batch, heads, keyHeads } = sizesOf(operands);
  const { count, mostParts } = workspace.columns;
  const unit = unitOf("keys", operands, attrs);
  const outer = batch * (wants === "keys" ? keyHeads : heads);
  const [pass, sum] =
    wants === "keys" ? ["sparseTilesKeys", "sparseTilesSum"] : ["sparseTilesBias", "sparseTilesBiasSum"];
  const launch = (name: string, x: number, threads: number): void => {
    const kernel = device.kernel(unit, name);
    packSparse(device, operands, attrs, workspace);
    device.launch(kernel, x, outer, 1, threads);
  };
  launch(pass, count + mostParts, 32 * MOST_WARPS);
  if (mostParts > 0) launch(sum, count, wants === "keys" ? 256 : COLUMN);
}

/** Calls `use` with where a bias a key lies as tiles read it; 0 where there is none. */
export function withKeyBias(
  device: CudaDevice,
  { bias }: SparseOperands,
  { bias: kind }: SparseAttrs,
  use: (keyBias: number) => void,
): void {
  if (bias === undefined || kind !== "key") {
    use(0);
    return;
  }
  const elements = numel(bias.shape);
  device.withWorkspace(4 * elements, (address) => {
    const kernel = device.kernel({ files: ["sparseBias"] }, "sparseBiasWords");
    device.parameters.start().pointer(addressOf(bias)).pointer(address).long(elements);
    device.launchOver(kernel, elements);
    use(address);
  });
}
