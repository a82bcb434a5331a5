import { fileURLToPath } from "node:url";
import { readEnvironment } from "@revnet-zero/tensor";
import { Subject } from "./subject.ts";

/** A script of peers/ in the Python that has PyTorch, after its first answer; or why there is none. */
export async function startPytorch(
  script: string,
  first: object,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Subject | string> {
  const python = readEnvironment("REVNET_PYTHON");
  if (python === "") return "REVNET_PYTHON names no Python interpreter with PyTorch";
  const path = fileURLToPath(new URL(`../peers/${script}`, import.meta.url));
  const subject = new Subject("pytorch", python, [path], env);
  try {
    await subject.ask(first);
    return subject;
  } catch (error) {
    return (error as Error).message;
  }
}

/** For a PyTorch held to 256-bit instructions: V8 has none of 512 bits, so that it is the peer of equal width on machines with AVX-512. */
export const avx2Environment: NodeJS.ProcessEnv = {
  ...process.env,
  ATEN_CPU_CAPABILITY: "avx2",
  MKL_ENABLE_INSTRUCTIONS: "AVX2",
  ONEDNN_MAX_CPU_ISA: "AVX2",
};
