import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { newestFirst } from "../src/device/libraries.ts";

const root = mkdtempSync(join(tmpdir(), "revnet-libraries-"));
afterAll(() => rmSync(root, { recursive: true }));

/** An empty file under the root, with the folders above it. */
function file(...parts: string[]): string {
  const path = join(root, ...parts);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "");
  return path;
}
/** A library of a system: a name with the major, which leads to one with the version. */
function linked(folder: string, name: string, version: string): string {
  const real = file(folder, `${name}.so.${version}`);
  const link = join(root, folder, `${name}.so.${version.split(".")[0]}`);
  symlinkSync(real, link);
  return link;
}

test("of libraries found in several places the newest comes first, whether file or package says how new it is", () => {
  const older = linked("usr", "libcudnn", "9.9.1");
  const newer = linked("local", "libcudnn", "9.14.0");
  const unknown = file("copied", "libcudnn.so.9");
  const wheel = file("site", "nvidia", "cudnn", "lib", "libcudnn.so.9");
  file("site", "nvidia_cudnn_frontend-1.15.0.dist-info", "METADATA");
  file("site", "nvidia_cudnn_cu13-9.19.0.56.dist-info", "METADATA");
  expect(newestFirst("cudnn", [older, newer, unknown, wheel])).toEqual([wheel, newer, older, unknown]);
});

test("a newer major comes first, and equals keep their order", () => {
  const [toolkit, second] = [linked("a", "libcublasLt", "13.1.0.3"), linked("b", "libcublasLt", "13.1.0.3")];
  const before = linked("c", "libcublasLt", "12.9.1.4");
  const wheel = file("other", "nvidia", "cublas", "lib", "libcublasLt.so.13");
  file("other", "nvidia_cublas-13.1.0.3.dist-info", "METADATA");
  expect(newestFirst("cublasLt", [before, toolkit, second, wheel])).toEqual([toolkit, second, wheel, before]);
});
