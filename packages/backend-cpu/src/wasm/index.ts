import type { KernelTable, TypedArray } from "@revnet-zero/tensor";
import { Device } from "./device/device.ts";
import { type Choice, chooseTier, type TierName } from "./device/tier.ts";
import { ElementwiseKernels } from "./kernels/elementwise.ts";
import { kernelTable } from "./kernels/index.ts";

/** Generated kernels over one heap, shared by all engines of a process that want the same. */
export interface Accelerator {
  readonly device: Device;
  readonly elementwise: ElementwiseKernels;
  readonly kernels: KernelTable<TypedArray>;
  /** How its kernels round and order sums. */
  readonly arithmetic: string;
}

const made = new Map<string, { readonly choice: Choice; readonly found: Accelerator | undefined }>();

/** The accelerator of a tier, made once; none for the tier "scalar". */
export function accelerator(
  tier: TierName | undefined,
  threads: number,
): { readonly choice: Choice; readonly found: Accelerator | undefined } {
  const key = `${tier} ${threads}`;
  let known = made.get(key);
  if (known === undefined) {
    const choice = chooseTier(tier);
    known = { choice, found: choice.tier === undefined ? undefined : create(choice.tier, threads) };
    made.set(key, known);
  }
  return known;
}

function create(tier: NonNullable<Choice["tier"]>, threads: number): Accelerator {
  const device = new Device({ tier, threads });
  const elementwise = new ElementwiseKernels(device);
  const { isFused } = tier.multiply;
  return {
    device,
    elementwise,
    kernels: kernelTable(device, elementwise),
    arithmetic: `float32 in fixed order, multiply-add ${isFused ? "fused" : "rounded twice"}`,
  };
}
