// Run by npm in a package's folder before packing: the licence must travel with every copy, and is written once.
import { copyFileSync } from "node:fs";

copyFileSync(new URL("../../../LICENSE", import.meta.url), "LICENSE");
