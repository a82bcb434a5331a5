import { addressOf, type CudaDevice } from "../../device/device.ts";
import { cTypes, type KernelUnit } from "../../device/sources.ts";
import { type AttentionAttrs, type AttentionOperands, sizesOf } from "./operands.ts";

function pack(device: CudaDevice, operands: AttentionOperands, { scale, isCausal, window }: AttentionAttrs): void {
  const { batch, heads, keyHeads, t, s, d, e } = sizesOf(operands);
  const { q, k, v, o, g, out, dq, dk, dv, lse, delta = 0 } = operands;
  const p = device.parameters.start();
  for (const view of [q, k, v, o, g, out, dq, dk, dv]) {
    p.pointer(view === undefined ? 0 : addressOf(view)).longs(
      view === undefined ? [0, 0, 0] : view.strides.slice(0, 3),
    );
  }
  p.pointer(lse)
    .pointer(delta)
    .long(batch * heads * t)
    .long(batch * keyHeads * s);
  p.ints([heads, keyHeads, t, s, d, e, Number(isCausal), window ?? 0]).double(scale);
}

/** Rows of queries or keys that a block of eight warps takes. */
const ROWS = 8;

/** A warp a row: for every type and size. */
function byRows(
  device: CudaDevice,
  name: string,
  rows: number,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
): void {
  if (rows === 0) return;
  const { d, e } = sizesOf(operands);
  const parts = { D: Math.max(1, Math.ceil(d / 32)), E: Math.max(1, Math.ceil(e / 32)) };
  const unit: KernelUnit = { files: ["heads", "attention"], types: { T: cTypes[operands.q.dtype] }, constants: parts };
  const kernel = device.kernel(unit, name);
  pack(device, operands, attrs);
  device.launch(kernel, Math.ceil(rows / ROWS));
}

/** The widest head that tiles take, and the rows of one. */
const WIDEST = 128;
const TILE = 64;

/** Whether tensor cores serve: what they multiply, and heads that fit. */
const takesTiles = (operands: AttentionOperands): boolean => {
  const { dtype } = operands.q;
  const { d, e } = sizesOf(operands);
  return (
    (dtype === "bf16" || dtype === "f16") &&
    Math.max(d, e) <= WIDEST &&
    operands.q.shape[0]! * operands.q.shape[1]! < 65536
  );
};

/** What one tile of the other side holds: less where more sums are held beside it, so that registers suffice. */
function tilesUnit(operands: AttentionOperands, isBackward: boolean): KernelUnit {
  const { d, e } = sizesOf(operands);
  const width = Math.max(16, 16 * Math.ceil(Math.max(d, e) / 16));
  const constants = { D: width, E: 1, WARPS: TILE / 16, STEP: isBackward || width > 64 ? TILE / 2 : TILE };
  return {
    files: ["heads", "attention", "tensorCore", "tiles", "attentionTiles"],
    types: { T: cTypes[operands.q.dtype] },
    constants,
  };
}

/** 64 rows a block, a head a row of blocks. */
function byTiles(
  device: CudaDevice,
  name: string,
  rows: number,
  heads: number,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
): void {
  if (rows * heads === 0) return;
  const kernel = device.kernel(tilesUnit(operands, name !== "tilesForward"), name);
  pack(device, operands, attrs);
  device.launch(kernel, Math.ceil(rows / TILE), heads, 1, 128);
}

/** o and the log-sum-exp. */
export function ownForward(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { batch, heads, t } = sizesOf(operands);
  if (takesTiles(operands)) byTiles(device, "tilesForward", t, batch * heads, operands, attrs);
  else byRows(device, "attentionForward", batch * heads * t, operands, attrs);
}

/** delta, dq, dk and dv: a pass over queries and one over keys, so that every sum has one owner and needs no atomics. */
export function ownBackward(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { batch, heads, keyHeads, t, s } = sizesOf(operands);
  byRows(device, "attentionDelta", batch * heads * t, operands, attrs);
  if (takesTiles(operands)) {
    byTiles(device, "tilesQueries", t, batch * heads, operands, attrs);
    byTiles(device, "tilesKeys", s, batch * keyHeads, operands, attrs);
  } else {
    byRows(device, "attentionQueries", batch * heads * t, operands, attrs);
    byRows(device, "attentionKeys", batch * keyHeads * s, operands, attrs);
  }
}
