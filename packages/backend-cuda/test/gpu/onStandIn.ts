// The GPU checks on the stand-in driver: node onStandIn.ts <check> [arguments].
import { useStandIn } from "../standin.ts";

const reason = useStandIn();
if (reason !== undefined) throw new Error(reason);
await import("./main.ts");
