// The GPU checks on the stand-in driver: node onStandIn.ts <check> [arguments].
import { useStandIn } from "@revnet-zero/backend-cuda/testing";

const reason = useStandIn();
if (reason !== undefined) throw new Error(reason);
await import("./main.ts");
