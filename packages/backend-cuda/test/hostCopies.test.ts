import type { HostCopy } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Block } from "../src/device/allocator.ts";
import type { CudaBackend } from "../src/index.ts";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();
const count = 5000;
const ramp = Int32Array.from({ length: count }, (_, i) => 3 * i - 7);
const other = new Int32Array(count).fill(-1);

let opened: CudaBackend | undefined;
async function device(): Promise<CudaBackend> {
  const { CudaBackend } = await import("../src/index.ts");
  opened ??= new CudaBackend();
  return opened;
}

const blockOf = (backend: CudaBackend, values: Int32Array): Block => {
  const block = backend.allocate("i32", values.length);
  backend.write(block, values);
  return block;
};
const copyOf = (backend: CudaBackend, block: Block): HostCopy<Block> => backend.hostCopies.copy(block, "i32", count);
const read = (backend: CudaBackend, block: Block) => backend.readSync(block, "i32", count);

beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});
afterEach(() => {
  process.env.REVNET_STANDIN_LATE = process.env.REVNET_STANDIN_FAIL = process.env.REVNET_STANDIN_GRAPH = "";
  const { liveBlocks, hostBytes } = opened!.memory();
  expect([liveBlocks, hostBytes]).toEqual([0, 0]);
});

describe.each(["", "copies", "work"])("copies in host memory, with the latest work that of %j", (late) => {
  test("hold what was there when they were asked for, and bring it back", async () => {
    const backend = await device();
    process.env.REVNET_STANDIN_LATE = late;
    const block = blockOf(backend, ramp);
    const copy = copyOf(backend, block);
    copy.settle();
    backend.write(block, other);
    expect(read(backend, block)).toEqual(other);
    for (let time = 0; time < 2; time++) {
      const back = backend.allocate("i32", count);
      copy.copyTo(back);
      copy.settle();
      expect(read(backend, back)).toEqual(ramp);
      backend.free(back);
    }
    copy.release();
    backend.free(block);
  });

  test("are brought back after they have arrived, whether somebody waited for that or not", async () => {
    const backend = await device();
    process.env.REVNET_STANDIN_LATE = late;
    // In pinned memory that holds nothing of before.
    backend.releaseCaches();
    const blocks = [blockOf(backend, ramp), backend.allocate("i32", count)] as const;
    const copy = copyOf(backend, blocks[0]);
    copy.copyTo(blocks[1]);
    copy.settle();
    expect(read(backend, blocks[1])).toEqual(ramp);
    copy.release();
    for (const block of blocks) backend.free(block);
  });

  test("that are given up while they are on their way leave the memory to whoever has it next", async () => {
    const backend = await device();
    process.env.REVNET_STANDIN_LATE = late;
    const source = blockOf(backend, ramp);
    const copy = copyOf(backend, source);
    const back = backend.allocate("i32", count);
    copy.copyTo(back);
    copy.release();
    for (const block of [back, source]) backend.free(block);
    const next = [other, ramp.map((v) => -v)].map((values) => ({ values, block: blockOf(backend, values) }));
    expect(next.map(({ block }) => block.address).sort()).toEqual([back.address, source.address].sort());
    // Waits for all copies, wanted or not.
    backend.releaseCaches();
    for (const { values, block } of next) expect(read(backend, block)).toEqual(values);
    // Pinned memory goes from copy to copy in the same way.
    const [one, two] = next.map(({ block }) => block) as [Block, Block];
    const again = copyOf(backend, one);
    again.settle();
    again.copyTo(two);
    again.settle();
    expect(read(backend, two)).toEqual(other);
    again.release();
    for (const block of [one, two]) backend.free(block);
  });
});

describe.each([1, 2, 3, 4, 5, 6])("copies of a graph, in order %i of those that its edges allow", (order) => {
  test("hold what was there, and the next has their memory when they have ended", async () => {
    const backend = await device();
    backend.releaseCaches();
    const [source, first, second] = [0, 1, 2].map(() => blockOf(backend, other)) as [Block, Block, Block];
    const memory = backend.openGraphs(() => {});
    const graph = memory.capture([], () => {
      backend.write(source, ramp);
      // Nobody waits for this one, neither before it is brought back nor before the next has its pinned memory.
      const copy = copyOf(backend, source);
      copy.copyTo(first);
      copy.release();
      const next = copyOf(backend, first);
      next.settle();
      backend.write(first, other);
      next.copyTo(second);
      next.settle();
      next.release();
    });
    expect(backend.memory().hostBytes).toBeGreaterThan(0);
    process.env.REVNET_STANDIN_GRAPH = String(order);
    for (let launch = 0; launch < 2; launch++) {
      graph.launch([], []);
      expect([source, first, second].map((block) => read(backend, block))).toEqual([ramp, other, ramp]);
    }
    graph.dispose();
    memory.dispose();
    for (const block of [source, first, second]) backend.free(block);
  });
});

// That the test above would find a missing wait: what somebody who does not settle gets.
test("the stand-in's late copies read what was written after they were asked for", async () => {
  const backend = await device();
  const block = blockOf(backend, ramp);
  process.env.REVNET_STANDIN_LATE = "copies";
  const copy = copyOf(backend, block);
  backend.write(block, other);
  const back = backend.allocate("i32", count);
  copy.copyTo(back);
  copy.settle();
  expect(read(backend, back)).toEqual(other);
  copy.release();
  for (const b of [block, back]) backend.free(b);
});

describe("calls that fail", () => {
  const calls = ["cuMemHostAlloc", "cuEventCreate", "cuEventRecord", "cuStreamWaitEvent"];
  test.each([...calls, "cuMemcpyDtoHAsync_v2", "cuMemcpyHtoDAsync_v2"])("one after the other, of %s", async (name) => {
    const backend = await device();
    backend.hostCopies.copiesMs();
    const block = blockOf(backend, ramp);
    const back = backend.allocate("i32", count);
    const work = (): void => {
      const copy = copyOf(backend, block);
      try {
        copy.settle();
        copy.copyTo(back);
        copy.settle();
      } finally {
        copy.release();
      }
    };
    let failed = 0;
    for (;;) {
      backend.releaseCaches();
      process.env.REVNET_STANDIN_FAIL = `${name}:${failed + 1}:1`;
      let thrown = "";
      try {
        work();
      } catch (error) {
        thrown = String(error);
      }
      const isOver = thrown === "";
      process.env.REVNET_STANDIN_FAIL = "";
      if (isOver) break;
      expect(thrown).toMatch(/BackendError: cuda: .*\n {2}hint: /);
      expect(backend.memory().hostBytes).toBe(0);
      failed++;
    }
    expect(failed).toBeGreaterThan(0);
    work();
    expect(read(backend, back)).toEqual(ramp);
    for (const b of [block, back]) backend.free(b);
  });

  test.each([
    ...calls,
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
  ])("one after the other while a graph is captured, of %s", async (name) => {
    const backend = await device();
    const block = blockOf(backend, ramp);
    const back = backend.allocate("i32", count);
    const memory = backend.openGraphs(() => {});
    const capture = () =>
      memory.capture([], () => {
        const copy = copyOf(backend, block);
        try {
          copy.copyTo(back);
          copy.settle();
        } finally {
          copy.release();
        }
      });
    let failed = 0;
    for (let isOver = false; !isOver; ) {
      backend.releaseCaches();
      process.env.REVNET_STANDIN_FAIL = `${name}:${failed + 1}:1`;
      try {
        capture().dispose();
        isOver = true;
      } catch (error) {
        expect(String(error)).toMatch(/BackendError: cuda: .*\n {2}hint: /);
        failed++;
      }
      process.env.REVNET_STANDIN_FAIL = "";
      expect(backend.memory().hostBytes).toBe(0);
    }
    expect(failed).toBeGreaterThan(0);
    const graph = capture();
    graph.launch([], []);
    expect(read(backend, back)).toEqual(ramp);
    graph.dispose();
    memory.dispose();
    for (const b of [block, back]) backend.free(b);
  });

  test("host memory that runs out is the engine's error", async () => {
    const backend = await device();
    backend.releaseCaches();
    const block = blockOf(backend, ramp);
    process.env.REVNET_STANDIN_FAIL = "cuMemHostAlloc:1";
    expect(errorText(() => copyOf(backend, block))).toMatchInlineSnapshot(`
      "OutOfMemoryError: offload: 20000 bytes more of pinned host memory cannot be had
        hint: offload fewer blocks, or to disk: offloadTo(new DiskStore())"
    `);
    backend.free(block);
  });
});

test("says what copies took, and how long the work waited for them", async () => {
  const backend = await device();
  const { hostCopies } = backend;
  const before = [hostCopies.copiesMs(), hostCopies.waitsMs()] as const;
  const block = blockOf(backend, ramp);
  const copy = copyOf(backend, block);
  copy.settle();
  expect(hostCopies.copiesMs()).toBeGreaterThan(before[0]);
  expect(hostCopies.waitsMs()).toBeGreaterThan(before[1]);
  copy.release();
  backend.free(block);
});
