import { addressOf, type CudaDevice, type CudaView } from "../../device/device.ts";
import { cTypes, type KernelUnit } from "../../device/sources.ts";
import { type AttentionAttrs, type AttentionOperands, sizesOf } from "./operands.ts";
import { packProblem, runDelta } from "./own.ts";

/** NVIDIA's numbers for the types in a tensor map. */
const mapTypes = { bf16: 9, f16: 6 } as const;
/** The widest head, and what copies of boxes begin and step at, in elements. */
const WIDEST = 128;
const PACK = 8;
/** Queries and keys from which a tile is filled. */
const LEAST = 64;

/** What a kernel is compiled with, beside D, OWNED and T: see hopperAttention.cu. Registers as far as a multiprocessor has them. */
interface Shape {
  readonly GROUPS: number;
  readonly STEP: number;
  readonly STAGES: number;
  readonly OWN_STAGES: number;
  readonly GIVEN: number;
  readonly TAKEN: number;
}

type OperandName = "q" | "k" | "v" | "g";

interface Pass {
  readonly kernel: string;
  /** Operands whose rows a block owns, and those that it walks over. */
  readonly own: readonly OperandName[];
  readonly other: readonly OperandName[];
  /** By the width that heads are filled up to. */
  readonly shapes: Readonly<Record<64 | 128, Shape>>;
}

const forward: Pass = {
  ...{ kernel: "hopperForward", own: ["q"], other: ["k", "v"] },
  shapes: {
    64: { GROUPS: 2, STEP: 128, STAGES: 2, OWN_STAGES: 2, GIVEN: 56, TAKEN: 224 },
    128: { GROUPS: 2, STEP: 128, STAGES: 2, OWN_STAGES: 2, GIVEN: 40, TAKEN: 232 },
  },
};
const queries: Pass = {
  ...{ kernel: "hopperQueries", own: ["q", "g"], other: ["k", "v"] },
  shapes: {
    64: { GROUPS: 2, STEP: 128, STAGES: 2, OWN_STAGES: 2, GIVEN: 40, TAKEN: 232 },
    128: { GROUPS: 2, STEP: 64, STAGES: 3, OWN_STAGES: 1, GIVEN: 56, TAKEN: 224 },
  },
};
const keys: Pass = {
  ...{ kernel: "hopperKeys", own: ["k", "v"], other: ["q", "g"] },
  shapes: {
    64: { GROUPS: 2, STEP: 64, STAGES: 4, OWN_STAGES: 2, GIVEN: 56, TAKEN: 224 },
    128: { GROUPS: 2, STEP: 64, STAGES: 3, OWN_STAGES: 1, GIVEN: 24, TAKEN: 240 },
  },
};

const isMapped = (view: CudaView): boolean =>
  addressOf(view) % 16 === 0 &&
  view.shape.slice(0, 3).every((size, axis) => {
    const step = view.strides[axis]!;
    return size === 1 || (step > 0 && step % PACK === 0);
  });

/** Whether the kernels of Hopper's tensor cores take these numbers on this device. */
export function takesHopper(
  device: Pick<CudaDevice, "hasWarpgroups">,
  operands: AttentionOperands,
  { scale }: AttentionAttrs,
): boolean {
  const { t, s, d, e } = sizesOf(operands);
  const { q, k, v, g, out, dq, dk, dv } = operands;
  return (
    device.hasWarpgroups &&
    (q.dtype === "bf16" || q.dtype === "f16") &&
    [d, e].every((width) => width % PACK === 0 && width <= WIDEST) &&
    Math.min(t, s) >= LEAST &&
    scale > 0 &&
    [q, k, v, g, out, dq, dk, dv].every((view) => view === undefined || isMapped(view))
  );
}

/** Bytes of keys and values, or of what else is walked over, that the heads at work may have: less than the cache holds. */
const CACHED = 36 * 2 ** 20;

function run(device: CudaDevice, pass: Pass, operands: AttentionOperands, attrs: AttentionAttrs): void {
  const { batch, heads, keyHeads, t, s, d, e } = sizesOf(operands);
  const D = Math.max(d, e) > 64 ? 128 : 64;
  const shape = pass.shapes[D];
  const { GROUPS, STEP, STAGES, OWN_STAGES } = shape;
  const [rows, OWNED, panels] = [64 * GROUPS, pass.own.length, D / 64];
  // SharedTiles of hopperAttention.cu, from the next multiple of 1024.
  const tiles = panels * 128 * (OWN_STAGES * OWNED * rows + 2 * STAGES * STEP);
  const sharedBytes = 1024 + tiles + STAGES * 2 * STEP * 4 + 8 * (2 * OWN_STAGES + 4 * STAGES);
  const unit: KernelUnit = {
    files: ["heads", "attentionProblem", "tensorCore", "hopper", "hopperAttention", pass.kernel],
    types: { T: cTypes[operands.q.dtype] },
    constants: { D, ...shape, OWNED, SHARED_BYTES: sharedBytes },
  };
  const kernel = device.kernel(unit, pass.kernel, sharedBytes);

  const ofKeys = pass.own[0] === "k";
  const lines = batch * (ofKeys ? keyHeads : heads);
  const count = Math.ceil((ofKeys ? s : t) / rows);
  const blocks = Math.min(device.processors, count * lines);
  const walked = 2 * (d + e) * (ofKeys ? (t * heads) / keyHeads : (s * keyHeads) / heads);
  const fitting = Math.max(1, Math.min(lines, Math.floor(CACHED / walked)));
  const together = fitting > blocks ? fitting - (fitting % blocks) : fitting;

  const p = device.parameters.start();
  for (const name of ["q", "k", "v", "g"] as const) {
    const view = operands[name];
    const boxRows = pass.own.includes(name) ? rows : STEP;
    const isRead = pass.own.includes(name) || pass.other.includes(name);
    p.map((bytes, offset) => encode(device, bytes, offset, isRead ? view : undefined, boxRows));
  }
  packProblem(p.ints([count, lines, together, Number(!ofKeys && attrs.isCausal)]), operands, attrs);
  device.launch(kernel, blocks, 1, 1, 128 * (GROUPS + 1), sharedBytes);
}

/** Writes the map of an operand; zeros where there is none. */
function encode(
  device: CudaDevice,
  bytes: Uint8Array,
  offset: number,
  view: CudaView | undefined,
  boxRows: number,
): void {
  if (view === undefined) {
    bytes.fill(0, offset, offset + 128);
    return;
  }
  const [batch, heads, rows, width] = view.shape as unknown as [number, number, number, number];
  const steps = [2, 1, 0].map((axis) => (view.shape[axis] === 1 ? PACK : view.strides[axis]!));
  const numbers = [width, rows, heads, batch, ...steps, boxRows];
  device.guard(() =>
    device.native.encodeTensorMap(bytes, offset, addressOf(view), mapTypes[view.dtype as "bf16" | "f16"], ...numbers),
  );
}

/**
 * On Hopper's tensor cores, without a [t, s] workspace and without atomics; backward a pass over queries and one over keys, so that
 * every sum has one owner.
 */
export function byHopper(device: CudaDevice, operands: AttentionOperands, attrs: AttentionAttrs): void {
  if (operands.delta === undefined) {
    run(device, forward, operands, attrs);
    return;
  }
  runDelta(device, operands, attrs);
  run(device, queries, operands, attrs);
  run(device, keys, operands, attrs);
}
