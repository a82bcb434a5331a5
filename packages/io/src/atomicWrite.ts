// A file or folder appears under its name only when it is complete and on the disk. Source: Pillai et al. 2014, "All File Systems Are Not
// Created Equal": write beside it, fsync, rename, fsync the folder. One process writes to a folder at a time.

import { type FileHandle, lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { CheckpointError } from "./checkpointError.ts";

/** What a file is to hold: text (UTF-8), bytes, or parts written one after another. */
export type FileContents = string | Uint8Array | readonly Uint8Array[];

/** What this process is writing now: not to be swept. */
const inFlight = new Set<string>();

/** Names of things half done: `.<name>.tmp-<pid>`, and `.<name>.old-<pid>` while a folder is replaced. */
const halfDone = /^\.(?<name>.+)\.(?<kind>tmp|old)-(?<pid>\d+)$/;

/**
 * Writes a file so that at every moment, also after a crash, its name holds the old contents or the new ones, all of them.
 * @throws CheckpointError if the folder is missing or cannot be written to, or the disk is full.
 */
export async function writeFileAtomic(path: string, contents: FileContents): Promise<void> {
  const temporary = besides(path, "tmp");
  await explain(path, [temporary], async () => {
    try {
      await writeAndSync(temporary, contents);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncFolder(dirname(path));
  });
}

/**
 * Writes a folder of files (names to contents) so that it appears complete or not at all. A folder of that name is replaced;
 * a crash between the two renames is undone by `sweepTemporary`.
 * @throws CheckpointError if the parent folder is missing or cannot be written to, or the disk is full.
 */
export async function writeDirectoryAtomic(path: string, files: ReadonlyMap<string, FileContents>): Promise<void> {
  const temporary = besides(path, "tmp");
  const old = besides(path, "old");
  await explain(path, [temporary, old], async () => {
    try {
      await rm(temporary, { recursive: true, force: true });
      await mkdir(temporary);
      for (const [name, contents] of files) await writeAndSync(join(temporary, name), contents);
      await syncFolder(temporary);
      await replaceFolder(temporary, path, old);
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
    await syncFolder(dirname(path));
    await rm(old, { recursive: true, force: true });
  });
}

/** rename replaces no folder that has files in it, so the one at `path` steps aside to `old` first. */
async function replaceFolder(from: string, path: string, old: string): Promise<void> {
  const present = await lstat(path).catch(ignore("ENOENT"));
  if (present === undefined) return rename(from, path);
  if (!present.isDirectory()) throw Object.assign(new Error("not a folder"), { code: "EEXIST" });
  await rename(path, old);
  try {
    await rename(from, path);
  } catch (error) {
    await rename(old, path);
    throw error;
  }
}

/**
 * Clears what writers that no longer run left behind in a folder: temporary files and folders are removed, and a folder that
 * was being replaced is given its name back. Returns the names it dealt with.
 * @throws CheckpointError if the folder cannot be written to; a missing folder has nothing to sweep.
 */
export async function sweepTemporary(folder: string): Promise<string[]> {
  return explain(folder, [], async () => {
    const names = await readdir(folder).catch(ignore("ENOENT"));
    const swept: string[] = [];
    for (const entry of names ?? []) {
      const { name = "", kind, pid } = halfDone.exec(entry)?.groups ?? {};
      const from = resolve(folder, entry);
      if (pid === undefined || isInUse(from, Number(pid))) continue;
      if (kind === "old" && !names?.includes(name)) await rename(from, join(folder, name));
      else await rm(from, { recursive: true, force: true });
      swept.push(entry);
    }
    return swept;
  });
}

function besides(path: string, kind: "tmp" | "old"): string {
  return resolve(dirname(path), `.${basename(path)}.${kind}-${process.pid}`);
}

async function writeAndSync(path: string, contents: FileContents): Promise<void> {
  const file = await open(path, "w");
  try {
    const parts = typeof contents === "string" || contents instanceof Uint8Array ? [contents] : contents;
    for (const part of parts) await writeAll(file, typeof part === "string" ? new TextEncoder().encode(part) : part);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** One write takes at most 2 GiB and may write less than it was given. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  const atOnce = 2 ** 26;
  for (let done = 0; done < bytes.byteLength; ) {
    done += (await file.write(bytes, done, Math.min(atOnce, bytes.byteLength - done))).bytesWritten;
  }
}

/** Makes the renames in a folder survive a power cut. Windows opens no folders, and its renames need no such help. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isInUse(path: string, pid: number): boolean {
  // An earlier process may have had our number: in a container it often does.
  if (pid === process.pid) return inFlight.has(path);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, and is another user's.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const ignore =
  (code: string) =>
  (error: NodeJS.ErrnoException): undefined => {
    if (error.code !== code) throw error;
  };

const explanations: Readonly<Record<string, readonly [problem: string, hint: string]>> = {
  ENOENT: ["its folder does not exist", "create the folder first, or check the path"],
  ENOTDIR: ["a part of the path is a file, not a folder", "choose another path"],
  EEXIST: ["a file of that name is in the way", "move the file, or choose another path"],
  EISDIR: ["a folder of that name is in the way", "move the folder, or choose another path"],
  EACCES: ["this user may not write there", "change the folder's permissions, or choose another one"],
  EPERM: ["this user may not write there", "change the folder's permissions, or choose another one"],
  EROFS: ["the disk is mounted read-only", "choose a folder on another disk"],
  ENOSPC: ["the disk is full", "free some space, or keep fewer checkpoints; what was there before is intact"],
  EDQUOT: ["the disk quota is used up", "free some space, or keep fewer checkpoints; what was there before is intact"],
};

/** Does the work with its temporary names marked as in use, and turns what goes wrong into words. */
async function explain<T>(path: string, temporaries: readonly string[], work: () => Promise<T>): Promise<T> {
  try {
    for (const temporary of temporaries) inFlight.add(temporary);
    return await work();
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const [problem, hint] = explanations[code] ?? [message, "check that the folder can be written to"];
    throw new CheckpointError("write", path, problem, hint, { cause: error });
  } finally {
    for (const temporary of temporaries) inFlight.delete(temporary);
  }
}
