import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { svgLineChart } from "@revnet-zero/plot";
import type { Report } from "./report.ts";
import type { Suite } from "./suite.ts";

const results = fileURLToPath(new URL("../results/", import.meta.url));

/**
 * Writes results/<host>/<suite>.json, and .svg where the suite draws one; <suite>-<backend>.json of a backend that shares its host's
 * folder with the CPU, as a GPU of its own name does not. Gives the paths.
 */
export async function saveReport(report: Report, { chart }: Suite): Promise<string[]> {
  const folder = `${results}${report.host.name}/`;
  await mkdir(folder, { recursive: true });
  const { backend } = report.settings;
  const isHosts = backend === "cpu" || report.host.device !== undefined;
  const stem = isHosts ? report.suite : `${report.suite}-${backend}`;
  const files = [[`${stem}.json`, `${JSON.stringify(report, undefined, 2)}\n`]] as [string, string][];
  if (chart !== undefined && isHosts) files.push([`${stem}.svg`, `${svgLineChart(chart(report.rows))}\n`]);
  for (const [name, text] of files) await writeFile(folder + name, text);
  return files.map(([name]) => folder + name);
}
