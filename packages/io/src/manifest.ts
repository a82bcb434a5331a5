import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import type { FileContents } from "./atomicWrite.ts";
import { CheckpointError } from "./checkpointError.ts";

export const manifestName = "manifest.json";

/** manifest.json: what the other files of a checkpoint folder must be. */
export interface Manifest {
  readonly format: "revnet-zero checkpoint";
  readonly version: 1;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

export function buildManifest(files: ReadonlyMap<string, FileContents>): Manifest {
  const entries = [...files].map(([name, contents]) => {
    const hash = createHash("sha256");
    let bytes = 0;
    for (const part of typeof contents === "string" || contents instanceof Uint8Array ? [contents] : contents) {
      hash.update(part);
      bytes += Buffer.byteLength(part);
    }
    return [name, { bytes, sha256: hash.digest("hex") }] as const;
  });
  return { format: "revnet-zero checkpoint", version: 1, files: Object.fromEntries(entries) };
}

/** The bytes of one file of a folder, equal to what was saved. */
export async function readVerified(folder: string, name: string): Promise<Uint8Array> {
  const expected = (await readManifest(folder)).files[name];
  if (expected === undefined) throw damaged(join(folder, manifestName), `does not mention ${name}`);
  return readHashed(join(folder, name), expected);
}

/** Reads every file of a folder; throws at the first that is not what was saved. */
export async function verifyFolder(folder: string): Promise<void> {
  for (const name of Object.keys((await readManifest(folder)).files)) await readVerified(folder, name);
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, manifestName);
  const bytes = await readHashed(path, undefined);
  let manifest: Partial<Manifest> | null;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw damaged(path, "is not the manifest of a checkpoint", error);
  }
  const isOurs = manifest?.format === "revnet-zero checkpoint" && typeof manifest.version === "number";
  if (isOurs && manifest?.version !== 1) {
    throw damaged(path, `is of version ${manifest?.version}, and this release reads version 1`);
  }
  if (isOurs && isFileTable(manifest?.files)) return manifest as Manifest;
  throw damaged(path, "is not the manifest of a checkpoint");
}

function isFileTable(files: unknown): boolean {
  return (
    typeof files === "object" &&
    files !== null &&
    Object.values(files).every((file) => typeof file?.bytes === "number" && typeof file?.sha256 === "string")
  );
}

/** Reads a file of any size in pieces (one read takes at most 2 GiB), checking size and SHA-256. */
async function readHashed(path: string, expected: Manifest["files"][string] | undefined): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      if (expected !== undefined && size !== expected.bytes) {
        throw damaged(path, `has ${size} bytes, and was saved with ${expected.bytes}`);
      }
      const bytes = new Uint8Array(size);
      const hash = createHash("sha256");
      const atOnce = 2 ** 26;
      for (let done = 0; done < size; ) {
        const { bytesRead } = await file.read(bytes, done, Math.min(atOnce, size - done), done);
        if (bytesRead === 0) throw damaged(path, "became shorter while it was read");
        hash.update(bytes.subarray(done, done + bytesRead));
        done += bytesRead;
      }
      if (expected !== undefined && hash.digest("hex") !== expected.sha256) {
        throw damaged(path, "its bytes changed since it was saved (SHA-256 differs)");
      }
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw damaged(path, isMissing ? "is missing" : `cannot be read (${(error as Error).message})`, error);
  }
}

function damaged(path: string, problem: string, cause?: unknown): CheckpointError {
  return new CheckpointError(
    "CheckpointStore",
    path,
    problem,
    "use an older checkpoint, or restore the file from a copy",
    {
      cause,
    },
  );
}
