import { BackendError, OutOfMemoryError, RevNetError } from "@revnet-zero/tensor";
import type { Problem } from "./protocol.ts";

/** An error as the page shows it: the library's own say what works; others are a defect, or the browser's memory. */
export function problemOf(error: unknown): Problem {
  const { message } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof RangeError || error instanceof OutOfMemoryError) {
    return {
      title: "Out of memory",
      message: firstLine(message),
      hint: "choose fewer layers or a smaller width, switch reversibility on, or close other tabs",
    };
  }
  if (error instanceof BackendError) {
    const hint = "run it again, or choose another backend at the top of the page";
    return { title: "The backend cannot go on", message: firstLine(message), hint };
  }
  if (error instanceof RevNetError)
    return { title: "This cannot be computed", message: firstLine(message), hint: error.hint };
  return { title: "Something went wrong", message: firstLine(message), hint: "run it again, or reload the page" };
}

const firstLine = (text: string): string => text.split("\n")[0] ?? "";
