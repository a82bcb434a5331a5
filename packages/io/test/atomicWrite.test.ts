import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sweepTemporary, writeDirectoryAtomic, writeFileAtomic } from "../src/atomicWrite.ts";
import { CheckpointError } from "../src/checkpointError.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "revnet-atomic-"));
});
afterEach(async () => {
  await chmod(folder, 0o755);
  await rm(folder, { recursive: true });
});

/** A process number that no process has: the kernel gives out none above 2^22. */
const deadPid = 2 ** 22 + 1;

const refusal = (work: Promise<unknown>): Promise<CheckpointError> =>
  work.then(
    () => expect.unreachable("it was written"),
    (error) => {
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error.hint).toBeTruthy();
      return error;
    },
  );

describe("writeFileAtomic", () => {
  test("writes text, bytes and parts, over what was there, and leaves nothing else", async () => {
    const path = join(folder, "file");
    const parts = fc.array(fc.uint8Array({ maxLength: 50 }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: "grapheme" }), fc.uint8Array(), parts), async (contents) => {
        await writeFileAtomic(path, contents);
        const all = Array.isArray(contents) ? Buffer.concat(contents) : Buffer.from(contents as string);
        expect((await readFile(path)).equals(all)).toBe(true);
        expect(await readdir(folder)).toEqual(["file"]);
      }),
      { numRuns: 30 },
    );
  });

  test("refuses a missing folder, a folder of that name, and leaves no temporary file", async () => {
    expect((await refusal(writeFileAtomic(join(folder, "no/file"), ""))).message).toMatch(/folder does not exist/);
    await mkdir(join(folder, "taken"));
    expect((await refusal(writeFileAtomic(join(folder, "taken"), ""))).message).toMatch(/in the way/);
    expect(await readdir(folder)).toEqual(["taken"]);
  });

  test("refuses a folder this user may not write to", async ({ skip }) => {
    skip(process.platform === "win32", "Windows has no write permission on folders");
    await chmod(folder, 0o555);
    const isRoot = process.geteuid?.() === 0;
    // root may write anywhere, so it steps down for a moment.
    if (isRoot) process.seteuid?.(65534);
    try {
      const { message, file } = await refusal(writeFileAtomic(join(folder, "file"), "text"));
      expect(message).toMatch(/this user may not write there\n {2}hint: change the folder's permissions/);
      expect(file).toBe(join(folder, "file"));
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});

describe("writeDirectoryAtomic", () => {
  const files = new Map([
    ["a.txt", "a"],
    ["b.txt", "b"],
  ]);

  test("writes all files, and replaces a folder with all its files", async () => {
    const path = join(folder, "set");
    await writeDirectoryAtomic(path, new Map([["old.txt", "old"]]));
    await writeDirectoryAtomic(path, files);
    expect((await readdir(path)).sort()).toEqual(["a.txt", "b.txt"]);
    expect(await readFile(join(path, "b.txt"), "utf8")).toBe("b");
    expect(await readdir(folder)).toEqual(["set"]);
  });

  test("leaves the old folder as it was when a file cannot be written", async () => {
    const path = join(folder, "set");
    await writeDirectoryAtomic(path, files);
    await refusal(writeDirectoryAtomic(path, new Map([["no/such/folder", ""]])));
    expect((await readdir(path)).sort()).toEqual(["a.txt", "b.txt"]);
    expect(await readdir(folder)).toEqual(["set"]);
  });

  test("refuses to replace a file", async () => {
    await writeFile(join(folder, "set"), "precious");
    expect((await refusal(writeDirectoryAtomic(join(folder, "set"), files))).message).toMatch(/is in the way/);
    expect(await readFile(join(folder, "set"), "utf8")).toBe("precious");
  });
});

describe("sweepTemporary", () => {
  test("removes what dead processes left, and nothing else", async () => {
    await mkdir(join(folder, `.set.tmp-${deadPid}`));
    await writeFile(join(folder, `.file.tmp-${deadPid}`), "");
    const kept = ["file", ".hidden", ".file.tmp-x", `file.tmp-${deadPid}`, `.file.tmp-${process.ppid}`];
    for (const name of kept) await writeFile(join(folder, name), "");
    expect((await sweepTemporary(folder)).sort()).toEqual([`.file.tmp-${deadPid}`, `.set.tmp-${deadPid}`]);
    expect((await readdir(folder)).sort()).toEqual(kept.sort());
  });

  test("gives a folder that was being replaced its name back", async () => {
    await mkdir(join(folder, `.set.old-${deadPid}`));
    await writeFile(join(folder, `.set.old-${deadPid}`, "a.txt"), "old");
    await mkdir(join(folder, `.set.tmp-${deadPid}`));
    await sweepTemporary(folder);
    expect(await readdir(folder)).toEqual(["set"]);
    expect(await readFile(join(folder, "set", "a.txt"), "utf8")).toBe("old");
  });

  test("spares what this process is writing, and not what an earlier one of the same number left", async () => {
    await writeFile(join(folder, `.left.tmp-${process.pid}`), "");
    const writing = writeFileAtomic(join(folder, "file"), "text");
    await sweepTemporary(folder);
    await writing;
    expect(await readdir(folder)).toEqual(["file"]);
  });

  test("has nothing to do in a missing folder", async () => {
    expect(await sweepTemporary(join(folder, "missing"))).toEqual([]);
  });
});
