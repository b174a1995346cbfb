// Light or dark as it was chosen, before anything is drawn. No module: these wait.
try {
  document.documentElement.dataset.theme = localStorage.getItem("tidemark-theme");
} catch {
  // Storage may be forbidden; then it is as the system's.
}
