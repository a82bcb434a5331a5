import { fileURLToPath } from "node:url";
import { readEnvironment } from "@revnet-zero/tensor";
import { Subject } from "./subject.ts";

/** A script of peers/ in the Python that has PyTorch, after its first answer; or why there is none. */
export async function startPytorch(script: string, first: object): Promise<Subject | string> {
  const python = readEnvironment("REVNET_PYTHON");
  if (python === "") return "REVNET_PYTHON names no Python interpreter with PyTorch";
  const path = fileURLToPath(new URL(`../peers/${script}`, import.meta.url));
  const subject = new Subject("pytorch", python, [path]);
  try {
    await subject.ask(first);
    return subject;
  } catch (error) {
    return (error as Error).message;
  }
}
