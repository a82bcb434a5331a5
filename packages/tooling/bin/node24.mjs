#!/usr/bin/env node
// Node 24 strips types, so the repository's own scripts run from source; a newer Node does as well.
import { launch } from "./launch.mjs";

launch(24, (version) => version >= 24);
