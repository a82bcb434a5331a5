import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DataError } from "../src/dataError.ts";
import { loadText } from "../src/textSource.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "revnet-text-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("a text file", () => {
  test("is loaded byte for byte, whatever its bytes", async () => {
    const path = join(folder, "any.txt");
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 500 }), async (bytes) => {
        await writeFile(path, bytes);
        expect((await loadText(path)).bytes).toEqual(bytes);
      }),
      { numRuns: 20 },
    );
  });

  test.for([
    ["a missing one", "missing.txt", /there is no file .*missing\.txt/],
    ["a file used as a folder", "plain.txt/inner.txt", /there is no file/],
    ["an empty one", "empty.txt", /is empty/],
    ["a folder", "folder", /is a folder/],
  ] as const)("%s is refused with what to do", async ([_, name, problem]) => {
    await writeFile(join(folder, "plain.txt"), "text");
    await writeFile(join(folder, "empty.txt"), "");
    await mkdir(join(folder, "folder"), { recursive: true });
    const error = await loadText(join(folder, name)).catch((reason) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(problem);
    expect(error.hint).toBeTruthy();
  });

  test("an empty path is refused", () => expect(loadText("")).rejects.toThrow(DataError));

  test("one that may not be read is refused", async ({ skip }) => {
    skip(process.platform === "win32", "Windows has no read permission on files");
    const path = join(folder, "secret.txt");
    await writeFile(path, "text");
    await chmod(path, 0o000);
    await chmod(folder, 0o755);
    const isRoot = process.geteuid?.() === 0;
    // root may read everything, so it steps down for a moment.
    if (isRoot) process.seteuid?.(65534);
    try {
      await expect(loadText(path)).rejects.toThrow(/may not be read.*hint/s);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});

test("moby-dick is the whole novel, always the same bytes", async () => {
  const { name, bytes } = await loadText("moby-dick");
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  expect(name).toBe("Moby-Dick");
  expect(text).toContain("Call me Ishmael.");
  expect(text.indexOf("CHAPTER 1. Loomings")).toBeLessThan(text.lastIndexOf("CHAPTER 135. The Chase"));
  expect([bytes.length, createHash("sha256").update(bytes).digest("hex").slice(0, 16)]).toEqual([
    1216578,
    "0af9935b7dafb3ff",
  ]);
});
