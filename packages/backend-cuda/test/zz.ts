import { useStandIn } from "/work/wt/cuda/packages/backend-cuda/test/standin.ts";
const why = useStandIn(); if (why) { console.log(why); process.exit(1); }
const { runContract, allOps } = await import("/work/wt/cuda/packages/backend-cuda/test/contractRun.ts");
const names = process.argv[2] && process.argv[2] !== "all" ? process.argv[2].split(",") : allOps;
const dtypes = process.argv[3]?.split(",");
const r = await runContract(names, { seed: Number(process.argv[4] ?? 1), ...(dtypes && dtypes[0] !== "all" ? { dtypes } : {}) }, (l) => console.log(l));
console.log(r);
