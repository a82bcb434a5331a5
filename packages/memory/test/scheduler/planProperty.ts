import { type BlockPolicy, losslessPolicies } from "@revnet-zero/reversible";
import fc from "fast-check";
import { expect } from "vitest";
import { chainsOf, type PlannedChain } from "../../src/costModel/chains.ts";
import { bitsOf, type Subject } from "./models.ts";

/** Loss and gradients of a model do not depend on the policies of its blocks. */
export function sameBitsUnderAnyPlan(subject: Subject): fc.IPropertyWithHooks<[BlockPolicy[][]]> {
  const chains = chainsOf(subject.model);
  const run = () => subject.engine.scope(subject.pass);
  const expected = bitsOf(subject, run);
  const planOf = ({ numBlocks, policies }: PlannedChain): fc.Arbitrary<BlockPolicy[]> => {
    const all = policies.includes("reconstruct") ? losslessPolicies : (policies as BlockPolicy[]);
    return fc.array(fc.constantFrom(...all), { minLength: numBlocks, maxLength: numBlocks });
  };
  return fc.property(fc.tuple(...chains.map(planOf)), (plans) => {
    chains.forEach((chain, i) => {
      chain.follow(plans[i]!);
    });
    expect(bitsOf(subject, run)).toBe(expected);
  });
}
