import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../device/allocator.ts";
import { addressOf, type CudaDevice, type CudaView } from "../device/device.ts";
import { cTypes, type KernelUnit } from "../device/sources.ts";
import type { Context } from "./context.ts";
import { wideType } from "./reduce.ts";

type Kernels = Pick<FusedKernels<Block>, "attention" | "attentionBackward">;

interface Attrs {
  readonly scale: number;
  readonly isCausal: boolean;
  readonly window?: number;
}

/** Whatever of attention's operands and results a kernel is given; the rest is null. */
interface Operands {
  readonly q: CudaView;
  readonly k: CudaView;
  readonly v: CudaView;
  readonly o?: CudaView;
  readonly g?: CudaView;
  readonly out?: CudaView;
  readonly outLse?: CudaView;
  readonly dq?: CudaView;
  readonly dk?: CudaView;
  readonly dv?: CudaView;
  /** Addresses in workspace. */
  readonly lse?: number;
  readonly delta?: number;
}

interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
}

function sizesOf({ q, k, v }: Operands): Sizes {
  const [batch, heads, t, d] = q.shape as unknown as [number, number, number, number];
  return { batch, heads, t, d, keyHeads: k.shape[1]!, s: k.shape[2]!, e: v.shape[3]! };
}

function pack(device: CudaDevice, operands: Operands, { scale, isCausal, window }: Attrs): void {
  const { batch, heads, keyHeads, t, s, d, e } = sizesOf(operands);
  const { q, k, v, o, g, out, outLse, dq, dk, dv, lse = 0, delta = 0 } = operands;
  const p = device.parameters.start();
  for (const view of [q, k, v, o, g, out, outLse, dq, dk, dv]) p.pointer(view === undefined ? 0 : addressOf(view));
  p.pointer(lse)
    .pointer(delta)
    .long(batch * heads * t)
    .long(batch * keyHeads * s);
  p.ints([heads, keyHeads, t, s, d, e, Number(isCausal), window ?? 0]).double(scale);
}

/** Rows of queries or keys that a block of eight warps takes. */
const ROWS = 8;

/** A warp a row: for every type and size. */
function byRows(device: CudaDevice, name: string, rows: number, operands: Operands, attrs: Attrs): void {
  if (rows === 0) return;
  const { d, e } = sizesOf(operands);
  const parts = { D: Math.max(1, Math.ceil(d / 32)), E: Math.max(1, Math.ceil(e / 32)) };
  const unit: KernelUnit = { files: ["attention"], types: { T: cTypes[operands.q.dtype] }, constants: parts };
  const kernel = device.kernel(unit, name);
  pack(device, operands, attrs);
  device.launch(kernel, Math.ceil(rows / ROWS));
}

/** The widest head that tiles take, and the rows of one. */
const WIDEST = 128;
const TILE = 64;

/** Whether tensor cores serve: what they multiply, and heads that fit. */
const takesTiles = (operands: Operands): boolean => {
  const { dtype } = operands.q;
  const { d, e } = sizesOf(operands);
  return (
    (dtype === "bf16" || dtype === "f16") &&
    Math.max(d, e) <= WIDEST &&
    operands.q.shape[0]! * operands.q.shape[1]! < 65536
  );
};

/** What one tile of the other side holds: less where more sums are held beside it, so that registers suffice. */
function tilesUnit(operands: Operands, isBackward: boolean): KernelUnit {
  const { d, e } = sizesOf(operands);
  const width = Math.max(16, 16 * Math.ceil(Math.max(d, e) / 16));
  const constants = { D: width, E: 1, STEP: isBackward || width > 64 ? TILE / 2 : TILE };
  return { files: ["attention", "tensorCore", "attentionTiles"], types: { T: cTypes[operands.q.dtype] }, constants };
}

/** 64 rows a block, a head a row of blocks. */
function byTiles(
  device: CudaDevice,
  name: string,
  rows: number,
  heads: number,
  operands: Operands,
  attrs: Attrs,
): void {
  if (rows * heads === 0) return;
  const kernel = device.kernel(tilesUnit(operands, name !== "tilesForward"), name);
  pack(device, operands, attrs);
  device.launch(kernel, Math.ceil(rows / TILE), heads, 1, 128);
}

function forward(device: CudaDevice, operands: Operands, attrs: Attrs): void {
  const { batch, heads, t } = sizesOf(operands);
  if (takesTiles(operands)) byTiles(device, "tilesForward", t, batch * heads, operands, attrs);
  else byRows(device, "attentionForward", batch * heads * t, operands, attrs);
}

function backward(device: CudaDevice, operands: Operands, attrs: Attrs): void {
  const { batch, heads, keyHeads, t, s } = sizesOf(operands);
  if (!takesTiles(operands)) {
    byRows(device, "attentionQueries", batch * heads * t, operands, attrs);
    byRows(device, "attentionKeys", batch * keyHeads * s, operands, attrs);
    return;
  }
  const queries = batch * heads * t;
  const kernel = device.kernel(tilesUnit(operands, true), "tilesDelta");
  pack(device, operands, attrs);
  device.launch(kernel, Math.ceil(queries / ROWS));
  byTiles(device, "tilesQueries", t, batch * heads, operands, attrs);
  byTiles(device, "tilesKeys", s, batch * keyHeads, operands, attrs);
}

export function attentionKernels({ device }: Context): Kernels {
  return {
    attention: {
      inputs: "contiguous",
      run: ([q, k, v], [out, outLse], attrs) =>
        forward(device, { q: q!, k: k!, v: v!, out: out!, outLse: outLse! }, attrs),
    },
    attentionBackward: {
      inputs: "contiguous",
      run: ([q, k, v, o, stored, g], [dq, dk, dv], attrs) => {
        const given = { q: q!, k: k!, v: v!, o: o!, g: g! };
        const queries = numel(stored!.shape);
        if (queries === 0) return;
        const bytes = queries * dtypes[wideType(q!.dtype)].bytes;
        device.withWorkspace(bytes, (lse) =>
          device.withWorkspace(bytes, (delta) => {
            // The log-sum-exp again, unrounded: what forward gave has the operands' type.
            forward(device, { ...given, lse, delta }, attrs);
            backward(device, { ...given, lse, delta, dq: dq!, dk: dk!, dv: dv! }, attrs);
          }),
        );
      },
    },
  };
}
