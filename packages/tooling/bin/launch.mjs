import { spawn } from "node:child_process";
import { constants } from "node:os";
import { resolveNode } from "./pinned-node.mjs";

/**
 * Runs `node --conditions=@revnet-zero/source <args>` on a Node of this major version and ends as it ends.
 *
 * @type {(wanted: number, accepts: (major: number) => boolean, args?: string[]) => void}
 */
export function launch(wanted, accepts, args = process.argv.slice(2)) {
  let binary;
  try {
    binary = resolveNode(wanted, accepts);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
  // The build runner would otherwise report to its makers.
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: "1" };
  const child = spawn(binary, ["--conditions=@revnet-zero/source", ...args], { stdio: "inherit", env });
  // The child decides when to end. A supervisor signals this process only; a terminal's Ctrl-C reaches the child by itself,
  // and a second one would mean "at once".
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    const reachesChild = signal === "SIGINT" && process.stdin.isTTY;
    process.on(signal, () => reachesChild || child.kill(signal));
  }
  child.on("error", (error) => {
    console.error(`cannot start ${binary}: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + constants.signals[signal]));
}
