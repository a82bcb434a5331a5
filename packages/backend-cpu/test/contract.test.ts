import { opContract } from "@revnet-zero/testkit";
import { CpuBackend, ReferenceBackend } from "../src/index.ts";

opContract({ backend: () => new CpuBackend(), reference: () => new ReferenceBackend() });
