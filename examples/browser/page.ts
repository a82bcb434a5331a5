import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine } from "@revnet-zero/tensor";
import { type Trained, train } from "./training.ts";

// The page of example 17: it trains, says so, and leaves what it found where a test can read it.

interface PageScope {
  document: { querySelector(selector: string): { textContent: string | null } };
  trained?: Trained;
}
const page = globalThis as unknown as PageScope;
const say = (text: string): void => {
  page.document.querySelector("pre").textContent += `${text}\n`;
};

try {
  const trained = await train(new Engine(new CpuBackend()), (step, loss) => {
    if (step % 5 === 0) say(`step ${step}: ${loss.toFixed(4)} nats`);
  });
  say(`\n${trained.threads} threads, ${trained.seconds.toFixed(1)} s\nbits of all weights: ${trained.digest}`);
  page.trained = trained;
} catch (error) {
  say(String(error));
}
