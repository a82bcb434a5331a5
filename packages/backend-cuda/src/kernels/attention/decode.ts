import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../../device/allocator.ts";
import { addressOf } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import type { Context } from "../context.ts";

/** As in decodeAttention.cu: lanes that share a key. */
const LANES = 8;
/** Warps of a block: many where there are few blocks, for each waits for memory again and again; few where blocks fill the device. */
const LEAST_WARPS = 8;
const MANY_BLOCKS = 512;
/**
 * Keys and values that eight lanes ask for at once, where there is little else to wait for: as many as 64 registers hold, so that a block finds
 * room beside the product in front, and starts early.
 */
const MOST_SLOTS = 3;
/** The most whose threads have registers, by the packs of a lane. */
const mostWarps = (packs: number): number => (packs <= 2 ? 16 : LEAST_WARPS);

export const decodeAttentionKernels = ({ device }: Context): Pick<FusedKernels<Block>, "decodeAttention"> => ({
  decodeAttention: {
    inputs: "contiguous",
    dtypes: ["f32", "bf16", "f16"],
    run: ([heads, place], [keys, values, y], { keyHeads, base, scale, window = 0 }) => {
      const [batch, , queryHeads, dim] = y!.shape as readonly number[] as [number, number, number, number];
      if (numel(y!.shape) === 0) return;
      const { dtype } = y!;
      const most = 16 / dtypes[dtype].bytes;
      const pack = dim % most === 0 ? most : 1;
      const packs = Math.ceil(dim / pack / LANES);
      const areMany = batch * queryHeads >= MANY_BLOCKS;
      const warps = areMany ? LEAST_WARPS : mostWarps(packs);
      const slots = areMany || packs > 1 ? 2 : MOST_SLOTS;
      const ahead = Number(device.graphs.isUntouched(place, keys, values));
      const constants = {
        PACK: pack,
        PACKS: packs,
        TURNED: base === undefined ? 0 : 1,
        WARPS: warps,
        SLOTS: slots,
        AHEAD: ahead,
      };
      const sharedBytes = 4 * (4 * dim + 2 * warps + warps * dim);
      const unit = { files: ["chain", "words", "angle", "decodeAttention"], types: { T: cTypes[dtype] }, constants };
      const kernel = device.kernel(unit, "decodeAttention", sharedBytes);
      const p = device.parameters.start();
      for (const view of [heads!, place!, keys!, values!, y!]) p.pointer(addressOf(view));
      p.double(base === undefined ? 0 : -Math.log(base) / (dim / 2));
      p.ints([queryHeads, keyHeads, keys!.shape[2]!, dim, window, Number(place!.shape[0]! > 1)]).float(scale);
      device.launch(kernel, batch * queryHeads, 1, 1, 32 * warps, sharedBytes);
    },
  },
});
