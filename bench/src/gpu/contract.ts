import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { type DType, type OpName, ops } from "@revnet-zero/tensor";
import { promisesOf, subject } from "@revnet-zero/testkit";

export interface ContractReport {
  passed: number;
  failed: number;
  skipped: number;
}

/** The contract suite without a test runner: for machines that have nothing but this folder. */
export async function runContract(
  backend: CudaBackend,
  names: readonly OpName[],
  options: {
    readonly dtypes?: readonly DType[];
    readonly seed?: number;
    readonly effort?: number;
    readonly factor?: number;
  },
  print: (line: string) => void,
): Promise<ContractReport> {
  const reference = new ReferenceBackend();
  const report = { passed: 0, failed: 0, skipped: 0 };
  for (const name of names) {
    const start = performance.now();
    for (const { title, skip, run } of promisesOf(subject(name), {
      backend,
      reference,
      factor: 4,
      seed: 1,
      ...options,
    })) {
      if (skip !== undefined) {
        report.skipped++;
        continue;
      }
      try {
        await run();
        report.passed++;
      } catch (error) {
        report.failed++;
        const { cause, message } = error as Error;
        print(
          `FAIL ${name} ${title}\n  ${String((cause as Error)?.message).slice(0, 400)}\n  ${message.slice(0, 500)}`,
        );
      }
    }
    print(`${name}: ${(performance.now() - start).toFixed(0)} ms`);
  }
  const { liveBlocks } = backend.memory();
  if (liveBlocks !== 0) {
    report.failed++;
    print(`FAIL ${liveBlocks} blocks of device memory are left`);
  }
  return report;
}

export const allOps: readonly OpName[] = Object.keys(ops) as OpName[];
