// Light or dark as it was chosen, before anything is drawn; without a choice the system's. No module: these wait.
"use strict";

try {
  document.documentElement.dataset.theme = localStorage.getItem("tidemark-theme") ?? "";
} catch {
  // Storage may be forbidden; then the system's it is.
}
