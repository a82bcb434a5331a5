import { type DType, dtypes } from "@revnet-zero/tensor";
import { addressOr0, type CudaDevice, THREADS } from "../../device/device.ts";
import type { Parameters } from "../../device/parameters.ts";
import { cTypes, type KernelUnit } from "../../device/sources.ts";
import { type AttentionAttrs, type AttentionOperands, sizesOf } from "./operands.ts";

/** Adds a problem to the parameters, as attentionProblem.cu reads it. */
export function packProblem(
  p: Parameters,
  operands: AttentionOperands,
  { scale, isCausal, window }: AttentionAttrs,
): void {
  const { batch, heads, keyHeads, t, s, d, e } = sizesOf(operands);
  const { q, k, v, o, g, out, dq, dk, dv, lse, delta = 0 } = operands;
  for (const view of [q, k, v, o, g, out, dq, dk, dv])
    p.pointer(addressOr0(view)).longs(view?.strides.slice(0, 3) ?? [], 3);
  p.pointer(lse)
    .pointer(delta)
    .long(batch * heads * t)
    .long(batch * keyHeads * s);
  p.ints([heads, keyHeads, t, s, d, e, Number(isCausal), window ?? 0]).double(scale);
}

/** Rows of queries or keys that a block of eight warps takes. */
const ROWS = 8;

function launchRows(
  device: CudaDevice,
  name: string,
  rows: number,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
): void {
  if (rows === 0) return;
  const { d, e } = sizesOf(operands);
  const parts = { D: Math.max(1, Math.ceil(d / 32)), E: Math.max(1, Math.ceil(e / 32)) };
  const unit: KernelUnit = {
    files: ["heads", "rowsOfAttention", "attentionProblem", "attentionRows"],
    types: { T: cTypes[operands.q.dtype] },
    constants: parts,
  };
  const kernel = device.kernel(unit, name);
  packProblem(device.parameters.start(), operands, attrs);
  device.launch(kernel, Math.ceil(rows / ROWS));
}

/** Lanes that multiply two rows (rowDot.cu): as many as a row has packs of 16 bytes. */
export const rowLanes = (dtype: DType, width: number): number =>
  Math.min(32, 2 ** Math.ceil(Math.log2(Math.max(1, (width * dtypes[dtype].bytes) / 16))));

/** The sums of g · o, which both passes of backward need. */
export function runDelta(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { batch, heads, t, e } = sizesOf(operands);
  const { dtype } = operands.q;
  const lanes = rowLanes(dtype, e);
  const unit: KernelUnit = {
    files: ["heads", "rowDot", "attentionProblem", "attentionDelta"],
    types: { T: cTypes[dtype] },
    constants: { LANES: lanes },
  };
  const kernel = device.kernel(unit, "attentionDelta");
  packProblem(device.parameters.start(), operands, attrs);
  device.launch(kernel, Math.ceil((batch * heads * t * lanes) / THREADS));
}

/** A warp a row: for every type and size. */
export function byRows(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { batch, heads, keyHeads, t, s } = sizesOf(operands);
  const run = (name: string, rows: number): void => launchRows(device, name, rows, operands, attrs);
  if (operands.delta === undefined) {
    run("attentionForward", batch * heads * t);
    return;
  }
  runDelta(device, operands, attrs);
  run("attentionQueries", batch * heads * t);
  run("attentionKeys", batch * keyHeads * s);
}

/** The widest head that tiles take, and the rows of one. */
const WIDEST = 128;
export const TILE = 64;
/** Heads are the second axis of a grid. */
const MOST_HEADS = 65535;

/** Whether tensor cores serve: what they multiply, and heads that fit. */
export function takesTiles(operands: AttentionOperands): boolean {
  const { dtype } = operands.q;
  const { batch, heads, d, e } = sizesOf(operands);
  return (dtype === "bf16" || dtype === "f16") && Math.max(d, e) <= WIDEST && batch * heads <= MOST_HEADS;
}

/** What one tile of the other side holds: less where more sums are held beside it, so that registers suffice. */
function tilesUnit(operands: AttentionOperands, isBackward: boolean): KernelUnit {
  const { d, e } = sizesOf(operands);
  const width = Math.max(16, 16 * Math.ceil(Math.max(d, e) / 16));
  const constants = { D: width, E: 1, WARPS: TILE / 16, STEP: isBackward || width > 64 ? TILE / 2 : TILE };
  return {
    files: ["heads", "attentionProblem", "tensorCore", "tiles", "attentionTiles"],
    types: { T: cTypes[operands.q.dtype] },
    constants,
  };
}

/** On tensor cores, 64 rows a block, a head a row of blocks; backward a pass over queries and one over keys, so that every sum has one owner and needs no atomics. */
export function byTiles(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { batch, heads, keyHeads, t, s } = sizesOf(operands);
  const isBackward = operands.delta !== undefined;
  const run = (name: string, rows: number, lines: number): void => {
    if (rows * lines === 0) return;
    const kernel = device.kernel(tilesUnit(operands, isBackward), name);
    packProblem(device.parameters.start(), operands, attrs);
    device.launch(kernel, Math.ceil(rows / TILE), lines, 1, 128);
  };
  if (!isBackward) {
    run("tilesForward", t, batch * heads);
    return;
  }
  runDelta(device, operands, attrs);
  run("tilesQueries", t, batch * heads);
  run("tilesKeys", s, batch * keyHeads);
}
