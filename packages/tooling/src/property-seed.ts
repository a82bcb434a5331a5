import { env } from "node:process";
import fc from "fast-check";

// Runs before every file of `npm test`: a commit passes or fails whoever tests it, because every run draws the same samples.
// The deep tests draw new ones, and so does `REVNET_SEED= npm test`.
env["REVNET_SEED"] ??= "1";
// For the properties that are asserted without parameters of their own.
if (env["REVNET_SEED"] !== "") fc.configureGlobal({ seed: Number(env["REVNET_SEED"]) });
