import { reversibleProperties } from "./properties.ts";

reversibleProperties(1000);
