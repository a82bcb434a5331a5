import { fileURLToPath } from "node:url";
import { readEnvironment } from "@revnet-zero/tensor";
import { Subject } from "../subject.ts";

export const pytorchModes = ["eager", "compiled"] as const;
export type PytorchMode = (typeof pytorchModes)[number];

const script = fileURLToPath(new URL("../../peers/pytorch_step.py", import.meta.url));

/** PyTorch's training step in a process, or why there is none. */
export function pytorch(): Subject | string {
  const python = readEnvironment("REVNET_PYTHON");
  if (python === "") return "REVNET_PYTHON names no Python interpreter with PyTorch";
  return new Subject("pytorch", python, [script]);
}
