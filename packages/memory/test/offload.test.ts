import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { DiskStore, OffloadError } from "../src/index.ts";
import { FileSpace } from "../src/offload/fileSpace.ts";
import { diskGivesBack, diskLeavesGradients } from "./memoryProperties.ts";

const folder = mkdtempSync(join(tmpdir(), "revnet-disk-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the space of a file", () => {
  test("gives out no byte twice, and all of it again", () => {
    const actions = fc.array(fc.record({ gives: fc.boolean(), size: fc.nat(9) }), { maxLength: 60 });
    fc.assert(
      fc.property(actions, fc.nat(40), (todo, limit) => {
        const space = new FileSpace(limit);
        const taken: { start: number; bytes: number }[] = [];
        for (const { gives, size } of todo) {
          const used = taken.reduce((sum, { bytes }) => sum + bytes, 0);
          expect(space.usedBytes).toBe(used);
          if (gives && taken.length > 0) {
            const [part] = taken.splice(size % taken.length, 1);
            space.give(part!.start, part!.bytes);
            continue;
          }
          const start = space.take(size);
          if (start === undefined) continue;
          expect(start + size).toBeLessThanOrEqual(limit);
          for (const other of taken)
            expect(start + size <= other.start || other.start + other.bytes <= start || size * other.bytes === 0).toBe(
              true,
            );
          taken.push({ start, bytes: size });
        }
        for (const { start, bytes } of taken) space.give(start, bytes);
        expect([space.usedBytes, space.endBytes]).toEqual([0, 0]);
        // One piece again, whatever the order.
        expect(space.take(limit)).toBe(0);
      }),
    );
  });
});

describe("a store on disk", () => {
  test("gives back the bytes it was given, in any order, with little memory", () => {
    fc.assert(diskGivesBack(folder), runs(15));
    expect(readdirSync(folder)).toEqual([]);
  });

  test("leaves gradients as they are, bit for bit, and is empty after the step", () => {
    using store = new DiskStore({ dir: folder, stagingBytes: 4096 });
    fc.assert(diskLeavesGradients(store), runs(8));
  });

  test("says that the disk is full, at the next call, and lets go of everything", (context) => {
    if (!existsSync("/dev/full")) context.skip("needs /dev/full, a device that is always full");
    const fd = openSync("/dev/full", "r+");
    const store = new DiskStore({ fd, stagingBytes: 100 });
    const ticket = store.write(new Uint8Array(100));
    const error = errorText(() => {
      for (;;) store.write(new Uint8Array(100));
    });
    expect(error).toMatchInlineSnapshot(`
      "OffloadError: offload: 100 bytes could not be written: the disk is full (ENOSPC: no space left on device, write)
        hint: free some space, take a folder on a larger disk with new DiskStore({ dir }), or offload fewer blocks"
    `);
    // It is lost for good, also for who asks again.
    expect(() => store.read(ticket)).toThrow(OffloadError);
    expect(() => store.read(ticket)).toThrow(OffloadError);
    store.remove(ticket);
    store.dispose();
    closeSync(fd);
    expect(errorText(() => store.write(new Uint8Array(1)))).toMatchInlineSnapshot(`
      "LifetimeError: offload: the DiskStore was disposed
        hint: make a new one"
    `);
  });

  test("says what transfers took, and how long they were waited for", () => {
    using store = new DiskStore({ dir: folder, stagingBytes: 2 ** 20 });
    expect([store.transferMs, store.waitedMs]).toEqual([0, 0]);
    // More than may be on its way: a write waits for the one before, and so does a reading.
    const tickets = Array.from({ length: 4 }, () => store.write(new Uint8Array(2 ** 20)));
    for (const ticket of tickets.reverse()) store.read(ticket);
    expect(store.transferMs).toBeGreaterThan(0);
    expect(store.waitedMs).toBeGreaterThan(0);
  });

  test("keeps its limit, and uses freed parts of the file again", () => {
    using store = new DiskStore({ dir: folder, limitBytes: 300 });
    const tickets = [100, 100, 100].map((n) => store.write(new Uint8Array(n)));
    expect(errorText(() => store.write(new Uint8Array(1)))).toMatchInlineSnapshot(`
      "OffloadError: offload: 1 bytes more exceed the file's limit of 300 bytes, of which 300 are in use
        hint: raise it with new DiskStore({ limitBytes }), or offload fewer blocks"
    `);
    store.remove(tickets[1]!);
    const again = store.write(new Uint8Array(100).fill(7));
    expect(store.read(again)[99]).toBe(7);
  });

  test("tells where no file can be made", () => {
    expect(() => new DiskStore({ dir: join(folder, "none") })).toThrow(OffloadError);
  });

  test("leaves no file behind when its process is killed", (context) => {
    if (process.platform === "win32") context.skip("an open file keeps its name on Windows");
    const script = `
      import { DiskStore } from "@revnet-zero/memory";
      const store = new DiskStore({ dir: ${JSON.stringify(folder)} });
      store.read(store.write(new Uint8Array(1e6)));
      process.kill(process.pid, "SIGKILL");
    `;
    // The pinned Node reads TypeScript; a child that was killed gives 128 and the signal's number.
    const node = fileURLToPath(new URL("../../tooling/bin/node24.mjs", import.meta.url));
    const run = spawnSync(process.execPath, [node, "--input-type=module", "-e", script], { cwd: import.meta.dirname });
    expect(run.status, String(run.stderr)).toBe(128 + 9);
    expect(readdirSync(folder)).toEqual([]);
  });
});
