import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { DiskStore } from "../src/index.ts";
import { diskGivesBack, diskLeavesGradients, estimateIsThePeak } from "./memoryProperties.ts";

const folder = mkdtempSync(join(tmpdir(), "revnet-disk-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("estimates are the ledger's peak in every mode and under any plan", () => {
  fc.assert(estimateIsThePeak(), runs(1000));
}, 600_000);

test("a store on disk gives back the bytes it was given", () => {
  fc.assert(diskGivesBack(folder), runs(1000));
  expect(readdirSync(folder)).toEqual([]);
}, 600_000);

test("offloading and swapping to disk leave every bit of the gradients", () => {
  using store = new DiskStore({ dir: folder, stagingBytes: 4096 });
  fc.assert(diskLeavesGradients(store), runs(1000));
}, 600_000);
