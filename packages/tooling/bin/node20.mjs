#!/usr/bin/env node
// The oldest Node the published packages support.
import { launch } from "./launch.mjs";

launch(20, (version) => version === 20);
