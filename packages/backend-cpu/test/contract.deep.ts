import { opContract } from "@revnet-zero/testkit";
import { describe } from "vitest";
import { CpuBackend, ReferenceBackend, tierNames } from "../src/index.ts";

// Every tier, with more samples than a change has time for. A tier that cannot run here fails with the reason.
describe.each(tierNames)("tier %s", (tier) => {
  opContract({ backend: () => new CpuBackend({ tier }), reference: () => new ReferenceBackend(), effort: 5 });
});
