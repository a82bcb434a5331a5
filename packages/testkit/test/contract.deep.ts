import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { opContract } from "../src/index.ts";

opContract({ backend: () => new ReferenceBackend(), reference: () => new ReferenceBackend(), effort: 10 });
