import { contiguousStrides, sameShape } from "@revnet-zero/tensor";
import type { Instruction, Slot, SlotView } from "./program.ts";

/** Whether a view is a whole buffer's elements in order, in this shape. */
export const isDense = ({ shape, strides, offset }: SlotView, like: readonly number[]): boolean =>
  offset === 0 && sameShape(shape, like) && sameShape(strides, contiguousStrides(shape));

const touches = (x: Instruction | undefined, slot: Slot): boolean =>
  x !== undefined && [...x.inputs, ...x.outputs].some((v) => v.slot === slot);

/**
 * Lets an elementwise op whose result is only copied into another buffer (`assign`) write there itself. The same numbers: where it reads that
 * buffer, it reads each element before it writes it.
 */
export function withoutCopies(given: readonly Instruction[], returned: ReadonlySet<Slot>): Instruction[] {
  const instructions: (Instruction | undefined)[] = [...given];
  for (const [j, copy] of given.entries()) {
    if (copy.kind !== "kernel" || copy.name !== "assign") continue;
    const [target, value] = copy.inputs as [SlotView, SlotView];
    const i = given.findLastIndex((x, at) => at < j && x.outputs.some((v) => v.slot === value.slot));
    const producer = instructions[i];
    if (producer?.kind !== "elementwise" || !isOnlyFor(given, { i, j, value, returned })) continue;
    const [made] = producer.outputs as [SlotView];
    const fits = isDense(value, made.shape) && isDense(target, made.shape) && target.dtype === made.dtype;
    const isRead = producer.inputs.every((v) => v.slot !== target.slot || isDense(v, made.shape));
    if (!fits || !isRead || given.slice(i + 1, j).some((x) => touches(x, target.slot))) continue;
    instructions[i] = { ...producer, outputs: [{ ...made, slot: target.slot }] };
    instructions[j] = undefined;
  }
  return instructions.filter((x) => x !== undefined);
}

/** Whether instruction i makes a buffer that j alone reads, and nothing else writes. */
function isOnlyFor(
  given: readonly Instruction[],
  {
    i,
    j,
    value,
    returned,
  }: { readonly i: number; readonly j: number; readonly value: SlotView; readonly returned: ReadonlySet<Slot> },
): boolean {
  const { slot } = value;
  if (slot.kind !== "made" || returned.has(slot)) return false;
  return (
    given.every((x, at) => at === i || at === j || !touches(x, slot)) && !given[i]!.inputs.some((v) => v.slot === slot)
  );
}
