import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildAddon, buildStandIn, compileArchive, standInTargets } from "@revnet-zero/backend-cuda/testing";

// Compiles the kernels that training needs with nvcc, ahead of time, and holds them to their limits (native-cuda/limits.json):
// `npm run cuda:kernels`. Without nvcc it says so, and kernels are compiled by NVRTC when first used.

const folder = mkdtempSync(join(tmpdir(), "revnet-kernels-"));
try {
  buildAddon();
  buildStandIn();
  const record = fileURLToPath(new URL("record.ts", import.meta.url));
  execFileSync(process.execPath, [...process.execArgv, record, folder], { stdio: "inherit" });
  const sources = join(folder, standInTargets.idle);
  if (!existsSync(sources)) throw new Error("no kernel was recorded");
  const { compiled, over, skipped, path, bytes } = await compileArchive(sources);
  for (const line of over) console.log(`FAIL ${line}`);
  if (skipped !== undefined) console.log(`skipped: ${skipped}`);
  else console.log(`${compiled} sources compiled to ${path}, ${(bytes / 2 ** 20).toFixed(1)} MiB`);
  console.log(`${compiled} passed, ${over.length} failed, ${skipped === undefined ? 0 : 1} skipped`);
  process.exitCode = over.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}
