#!/usr/bin/env node
// The command lives in a package of its own, below this one; users who install the umbrella get it under its name.
import "@revnet-zero/cli/main";
