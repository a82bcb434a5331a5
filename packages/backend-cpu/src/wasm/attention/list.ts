import { RUN_WORDS } from "@revnet-zero/tensor";
import { type FunctionBuilder, type I32, i32 } from "../assembler/index.ts";
import { at, type L, type Run } from "./block.ts";
import { scoreBlock } from "./sizes.ts";

/** Parameters that say which list, and how heads share keys and lists. Steps in bytes. */
export const listParameters = [
  "t",
  "s",
  "group",
  "keyHeads",
  "blockSize",
  "blocks",
  "runs",
  "slots",
  "runsBatch",
  "runsHead",
] as const;
export type ListParameters = Readonly<Record<(typeof listParameters)[number], L>>;

const RUN_BYTES = 4 * RUN_WORDS;

/** The list of a key head, counted over the batch. */
export function listOf(f: FunctionBuilder, keyHead: I32, { keyHeads, runs, runsBatch, runsHead }: ListParameters): L {
  const batch = i32.divU(keyHead, keyHeads);
  const head = i32.remU(keyHead, keyHeads);
  return f.let(at(at(runs, batch, runsBatch), head, runsHead));
}

/** Runs `body` for the runs of a block of queries, clipped to keys [first, end). */
export function eachRun(
  f: FunctionBuilder,
  list: L,
  row: L,
  { slots }: ListParameters,
  [first, end]: readonly [I32, I32],
  body: (run: Run) => void,
): void {
  const [slot, from, to, low, high] = f.locals("i32", 5) as [L, L, L, L, L];
  const place = f.let(at(list, i32.mul(row, slots), i32.const(RUN_BYTES)));
  f.for(slot, i32.const(0), slots, 1, () => {
    f.set(from, i32.max(first, i32.load(place)));
    f.set(to, i32.min(end, i32.load(place, 4)));
    f.set(low, i32.load(place, 8));
    f.set(high, i32.load(place, 12));
    f.if(i32.ltS(from, to), () => body({ from, to, low, high }));
    f.advance(place, RUN_BYTES);
  });
}

/** How many of a block's queries from its i-th on there are, and fit into a block of scores; none is 0 or less. */
export const rowsFrom = (i: I32, row: I32, { t, blockSize }: ListParameters): I32 =>
  i32.min(
    i32.const(scoreBlock.queries),
    i32.min(i32.sub(blockSize, i), i32.sub(t, i32.add(i32.mul(row, blockSize), i))),
  );
