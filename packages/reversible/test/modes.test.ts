import { modeProperties } from "./modeProperties.ts";

modeProperties(50);
