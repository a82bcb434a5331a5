import { test } from "vitest";
import { holdsForRecordings } from "./hostMovesProperty.ts";

test("copies in host memory are made again by a recording, on its own buffers", () => holdsForRecordings(1000));
