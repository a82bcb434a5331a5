import { dtypes, type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Block } from "../../device/allocator.ts";
import { addressOf } from "../../device/device.ts";
import { cTypes } from "../../device/sources.ts";
import type { Context } from "../context.ts";

/** As in decodeAttention.cu: lanes that share a key, and the groups of a block. */
const LANES = 8;
const GROUPS = 32;

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
      const constants = { PACK: pack, PACKS: Math.ceil(dim / pack / LANES), TURNED: base === undefined ? 0 : 1 };
      const sharedBytes = 4 * (3 * dim + 2 * GROUPS + GROUPS * dim);
      const unit = { files: ["angle", "decodeAttention"], types: { T: cTypes[dtype] }, constants };
      const kernel = device.kernel(unit, "decodeAttention", sharedBytes);
      const p = device.parameters.start();
      for (const view of [heads!, place!, keys!, values!, y!]) p.pointer(addressOf(view));
      p.double(base === undefined ? 0 : -Math.log(base) / (dim / 2));
      p.ints([queryHeads, keyHeads, keys!.shape[2]!, dim, window]).float(scale);
      device.launch(kernel, batch * queryHeads, 1, 1, 256, sharedBytes);
    },
  },
});
