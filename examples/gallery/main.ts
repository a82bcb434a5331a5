// `npm run gallery`: builds the page and serves it to this machine. `-- --build` only builds, `-- --port 8080` names the port.
import { parseArgs } from "node:util";
import { buildGallery, serveGallery } from "./site.ts";

const { values } = parseArgs({
  options: { build: { type: "boolean", default: false }, port: { type: "string", default: "4173" } },
});
await buildGallery();
if (values.build) console.log("written: examples/gallery/dist, static files for any server");
else {
  const server = await serveGallery({ port: Number(values.port) });
  console.log(`The gallery is at ${server.resolvedUrls?.local[0]}\nEnd it with Ctrl+C.`);
}
