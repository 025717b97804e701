// What a person sees at an address where there is nothing.

import { startLanguage } from "./i18n.js";

startLanguage(document.querySelectorAll("[data-language-switch]"));
