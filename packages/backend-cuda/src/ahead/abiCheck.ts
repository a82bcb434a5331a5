import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nativeFolder } from "../device/addon.ts";
import { headerFolders } from "../device/libraries.ts";

/** One of NVIDIA's interfaces: the list in abi.h, and the header it is held to. */
const interfaces = {
  DRIVER: "cuda.h",
  COMPILER: "nvrtc.h",
  PRODUCTS: "cublasLt.h",
  GRAPHS: "cudnn.h",
  COLLECTIVES: "nccl.h",
} as const;

export interface AbiReport {
  /** Headers that our prototypes, numbers and structs agree with. */
  readonly checked: readonly string[];
  /** Headers that are not here. */
  readonly absent: readonly string[];
  /** The compiler's words where something does not agree. */
  readonly problem?: string;
}

/** Functions of a list in abi.h. */
function symbolsOf(text: string, list: string): string[] {
  const [, body = ""] = new RegExp(`#define REVNET_${list}\\(X\\)((?:.*\\\\\\n)*.*)`).exec(text) ?? [];
  return [...body.matchAll(/X\((\w+), "(\w+)", ([^,]+), (\((?:[^()]|\([^()]*\))*\))\)/g)].map(
    ([, , symbol, result, parameters]) =>
      `static_assert(Agrees<${result}${parameters}, decltype(${symbol})>::value, "${symbol}");`,
  );
}

/** Compiles native-cuda/check/abi.cc against NVIDIA's headers, where there are any. Needs g++ and no GPU. */
export function checkAbi(more: readonly string[] = []): AbiReport {
  const text = readFileSync(join(nativeFolder(), "src", "abi.h"), "utf8");
  const folders = [...more, ...headerFolders()];
  const isHere = (header: string): boolean => folders.some((folder) => existsSync(join(folder, header)));
  const all = Object.entries(interfaces).filter(([list]) => text.includes(`REVNET_${list}(X)`));
  const here = all.filter(([, header]) => isHere(header));
  const absent = all.filter(([, header]) => !isHere(header)).map(([, header]) => header);
  const checked = here.map(([, header]) => header);
  if (here.length === 0) return { checked, absent };
  const folder = mkdtempSync(join(tmpdir(), "revnet-abi-"));
  try {
    const symbols = here.flatMap(([list]) => symbolsOf(text, list));
    if (symbols.length === 0) throw new Error("abi.h has no lists of functions any more");
    writeFileSync(join(folder, "symbols.inc"), `namespace abi {\n${symbols.join("\n")}\n}\n`);
    const defines = here.map(([list]) => `-DREVNET_CHECK_${list}`);
    // As system headers: their own warnings are not ours.
    const places = folders.filter((path) => existsSync(path)).flatMap((path) => ["-isystem", path]);
    const source = join(nativeFolder(), "check", "abi.cc");
    execFileSync(
      process.env.CXX ?? "g++",
      ["-std=c++17", "-fsyntax-only", ...defines, `-I${folder}`, ...places, source],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    return { checked, absent };
  } catch (error) {
    return { checked: [], absent, problem: (error as { readonly stderr?: string }).stderr || (error as Error).message };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
