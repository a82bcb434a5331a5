import { Worker } from "node:worker_threads";

const SLICE_BYTES = 2 ** 26;
const MILLISECONDS = 250;
const ROUNDS = 3;

/** Copies a slice of its own for a while, and answers with the bytes it has read and written. */
const source = `
const { parentPort, workerData: { bytes, milliseconds } } = require("node:worker_threads");
const [from, to] = [new Uint8Array(bytes).fill(1), new Uint8Array(bytes).fill(2)];
parentPort.on("message", () => {
  let copied = 0;
  const start = performance.now();
  while (performance.now() - start < milliseconds) { to.set(from); copied += 2 * bytes; }
  parentPort.postMessage(copied / ((performance.now() - start) / 1000));
});`;

/** Bytes a second that `threads` threads read and write together when each copies memory far larger than the caches. */
export async function measureBandwidth(threads: number): Promise<number> {
  const workerData = { bytes: SLICE_BYTES, milliseconds: MILLISECONDS };
  const workers = Array.from({ length: threads }, () => new Worker(source, { eval: true, workerData }));
  let best = 0;
  for (let i = 0; i < ROUNDS; i++) {
    const rates = await Promise.all(
      workers.map(
        (worker) =>
          new Promise<number>((resolve, reject) => {
            worker.once("message", resolve);
            worker.once("error", reject);
            worker.postMessage("go");
          }),
      ),
    );
    best = Math.max(
      best,
      rates.reduce((a, b) => a + b, 0),
    );
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
  return best;
}
