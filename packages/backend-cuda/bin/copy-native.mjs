// Run by npm before packing: the addon's and the kernels' sources, and tuning tables, travel with the package, and are written once.
import { cpSync, rmSync } from "node:fs";

rmSync("native", { recursive: true, force: true });
for (const part of ["src", "kernels", "tuned"])
  cpSync(`../../native-cuda/${part}`, `native/${part}`, { recursive: true });
