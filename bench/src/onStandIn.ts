// The bench runner on the stand-in driver, to see that a suite runs: node onStandIn.ts <suite> --backend cuda --quick.
import { useStandIn } from "@revnet-zero/backend-cuda/testing";

const reason = useStandIn();
if (reason !== undefined) throw new Error(reason);
await import("./main.ts");
