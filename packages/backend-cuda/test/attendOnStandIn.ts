import { tilesAgainstRows } from "../src/testing/attention.ts";
import { useStandIn } from "../src/testing/standIn.ts";

// node attendOnStandIn.ts <folder>: attention on Hopper's tensor cores, on the stand-in, with the kernels and the addon of another folder
// than the repository's. Prints how far it is from rows.

const reason = useStandIn();
if (reason !== undefined) throw new Error(reason);
process.env.REVNET_CUDA_ADDON = `${process.argv[2]}/out/revnet_cuda.node`;
const { CudaBackend } = await import("../src/index.ts");
const one = { heads: 2, keyHeads: 2, t: 150, s: 300, d: 64, e: 64, isCausal: true };
console.log(JSON.stringify(tilesAgainstRows(new CudaBackend(), one, { way: "hopper" })));
