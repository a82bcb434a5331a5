import "./style/page.css";
import "./style/hero.css";
import "./style/demo.css";
import { mountCourse } from "./course.ts";
import { mountEnginePanel } from "./enginePanel.ts";
import { mountDensity } from "./sections/density.ts";
import { mountExactness } from "./sections/exactness.ts";
import { mountLanguageModel } from "./sections/languageModel.ts";
import { mountMemory } from "./sections/memory.ts";
import { mountPicture } from "./sections/picture.ts";

const section = (id: string): HTMLElement => document.getElementById(id)!;

mountEnginePanel();
mountLanguageModel(section("language-model"));
mountMemory(section("memory"));
mountExactness(section("exactness"));
mountPicture(section("picture"));
mountDensity(section("density"));
mountCourse(section("course"));
