// Light or dark, before anything is drawn: modules run later.
try {
  document.documentElement.dataset.theme = localStorage.getItem("tidemark-theme") ?? "system";
} catch {
  // Storage may be forbidden.
}
