import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const { PATH = "" } = process.env;

/** Debian's Chromium, or whatever else on the PATH goes by one of its names; undefined where there is none. */
export const chromiumPath: string | undefined = PATH.split(delimiter)
  .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

export const noChromium = "no chromium, chromium-browser or google-chrome on the PATH (apt-get install chromium)";
