import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { resolveNode } from "../bin/pinned-node.mjs";

const bin = (name: string) => fileURLToPath(new URL(`../bin/${name}.mjs`, import.meta.url));
const run = (name: string, code: string) =>
  spawnSync(process.execPath, [bin(name), "--eval", code], {
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });

test.each([
  ["node20", 20],
  ["node24", 24],
])("%s runs Node %i with the source condition", (name, wanted) => {
  const { stdout, stderr } = run(name, "console.log(process.versions.node, process.execArgv[0])");
  expect(stderr).toBe("");
  expect(stdout).toMatch(new RegExp(`^${wanted}\\.\\d+\\.\\d+ --conditions=@revnet-zero/source\\n$`));
});

test("the exit code of the child is the exit code of the launcher", () => {
  expect(run("node24", "process.exit(7)").status).toBe(7);
});

test.skipIf(process.platform === "win32")("a child ended by a signal gives 128 plus its number", () => {
  expect(run("node24", "process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)").status).toBe(143);
});

test("without a pinned Node, the running one if it will do, else an error that says what to do", () => {
  expect(resolveNode(7, () => true)).toBe(process.execPath);
  expect(() => resolveNode(7, () => false)).toThrow(/no Node 7 found for .*\n {2}hint: run `npm install`/);
});
