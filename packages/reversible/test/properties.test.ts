import { reversibleProperties } from "./properties.ts";

reversibleProperties(50);
