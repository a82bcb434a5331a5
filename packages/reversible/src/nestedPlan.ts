import { ValueError } from "@revnet-zero/tensor";

/**
 * What is done with blocks in order, one entry after another: "store" keeps what one block's derivatives read; a list is a segment, of
 * which only the input is kept until backward, and which is then run again from it by the entries of the list. So segments nest.
 * Source: Griewank and Walther 2000 (revolve); Beaumont et al. 2019 (rotor), for chains of unlike blocks.
 */
export type NestedPlan = readonly ("store" | NestedPlan)[];

/** How many blocks a plan is for. */
export const numBlocksOf = (plan: NestedPlan): number =>
  plan.reduce((sum, entry) => sum + (entry === "store" ? 1 : numBlocksOf(entry)), 0);

export function checkNestedPlan(plan: NestedPlan, numBlocks: number, op: string): NestedPlan {
  const hasEmpty = (list: NestedPlan): boolean =>
    list.length === 0 || list.some((entry) => entry !== "store" && hasEmpty(entry));
  if (numBlocksOf(plan) === numBlocks && (numBlocks === 0 || !hasEmpty(plan))) return plan;
  throw new ValueError(
    op,
    `the segments ${JSON.stringify(plan)} hold ${numBlocksOf(plan)} blocks, the sequence has ${numBlocks}`,
    'name each block once: "store" by itself, or in a list of those that are run again together',
  );
}
