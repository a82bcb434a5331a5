import { type BlockPolicy, losslessPolicies } from "@revnet-zero/reversible";
import fc from "fast-check";
import { expect } from "vitest";
import { chainsOf } from "../../src/costModel/chains.ts";
import { bitsOf, type Subject } from "./models.ts";

/** Loss and gradients of a model do not depend on the policies of its blocks. */
export function sameBitsUnderAnyPlan(subject: Subject): fc.IPropertyWithHooks<[BlockPolicy[][]]> {
  const chains = chainsOf(subject.model);
  const run = () => subject.engine.scope(subject.pass);
  const expected = bitsOf(subject, run);
  const planOf = (numBlocks: number): fc.Arbitrary<BlockPolicy[]> =>
    fc.array(fc.constantFrom(...losslessPolicies), { minLength: numBlocks, maxLength: numBlocks });
  return fc.property(fc.tuple(...chains.map(({ numBlocks }) => planOf(numBlocks))), (plans) => {
    chains.forEach((chain, i) => {
      chain.plan = { blocks: plans[i]! };
    });
    expect(bitsOf(subject, run)).toBe(expected);
  });
}
