import { spawn } from "node:child_process";
import { constants } from "node:os";
import { resolveNode } from "./pinned-node.mjs";

/** Runs `node --conditions=@revnet-zero/source <args>` on a Node of this major version and ends as it ends. */
export function launch(wanted, accepts, args = process.argv.slice(2)) {
  let binary;
  try {
    binary = resolveNode(wanted, accepts);
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
  const child = spawn(binary, ["--conditions=@revnet-zero/source", ...args], { stdio: "inherit" });
  // A terminal signals the whole group; a supervisor signals this process only. The child decides when to end.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`cannot start ${binary}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
