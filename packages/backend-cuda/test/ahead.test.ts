import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ArchivedKernels, writeArchive } from "../src/ahead/archive.ts";
import { overLimit } from "../src/ahead/limits.ts";
import { resourcesOf } from "../src/ahead/nvcc.ts";

test("an archive gives what was put in, for architectures that it serves, and nothing where it is cut short", () => {
  const folder = mkdtempSync(join(tmpdir(), "revnet-archive-"));
  const path = join(folder, "kernels.fatbins");
  const codes = fc.dictionary(fc.stringMatching(/^[0-9a-f]{8}$/), fc.uint8Array({ maxLength: 40 }));
  fc.assert(
    fc.property(codes, (given) => {
      const all = new Map(Object.entries(given));
      writeArchive(path, "sm_80, compute_80", all);
      const archive = new ArchivedKernels(path);
      for (const [hash, code] of all) expect(Array.from(archive.find(hash, "sm_90a")!)).toEqual(Array.from(code));
      expect(archive.find("nothing by this name", "sm_90a")).toBeUndefined();
      for (const hash of all.keys()) expect(archive.find(hash, "sm_75")).toBeUndefined();
      expect(archive.summary).toContain(`${all.size} sources`);
    }),
    runs(50),
  );
  writeFileSync(path, "         100{");
  expect(new ArchivedKernels(path).find("a", "sm_90a")).toBeUndefined();
  expect(new ArchivedKernels(join(folder, "none")).summary).toContain("none compiled ahead of time");
  rmSync(folder, { recursive: true });
});

const words = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'normWarp' for 'sm_90a'
ptxas info    : Function properties for normWarp
    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 132 bytes smem
ptxas info    : Compiling entry function 'normBlock' for 'sm_80'
ptxas info    : Function properties for normBlock
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers
`;

test("what ptxas says is held to the rule and its exceptions", () => {
  const found = resourcesOf(words);
  expect(found).toEqual([
    { kernel: "normWarp", architecture: "sm_90a", registers: 80, stackBytes: 16, spillBytes: 12 },
    { kernel: "normBlock", architecture: "sm_80", registers: 40, stackBytes: 0, spillBytes: 0 },
  ]);
  expect(found.flatMap((one) => overLimit(one, {}))).toEqual([
    "normWarp on sm_90a: 16 stackBytes, at most 0",
    "normWarp on sm_90a: 12 spillBytes, at most 0",
  ]);
  const allowed = { normWarp: { stackBytes: 16, spillBytes: 12, registers: 64, why: "" } };
  expect(found.flatMap((one) => overLimit(one, allowed))).toEqual(["normWarp on sm_90a: 80 registers, at most 64"]);
});
