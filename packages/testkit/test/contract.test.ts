import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "../src/index.ts";

// The oracle itself keeps the contract: its bodies against a second reading of them, its gradients against differences.
opContract({ backend: () => new ReferenceBackend(), reference: () => new ReferenceBackend() });
