import { opContract } from "@revnet-zero/testkit";
import { CpuBackend, ReferenceBackend } from "../src/index.ts";

// Poisoned: a kernel that reads what nobody wrote gives NaN.
opContract({ backend: () => new CpuBackend({ isPoisoned: true }), reference: () => new ReferenceBackend() });
