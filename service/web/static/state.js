// All that the page remembers; sealed, so that a field that is not declared here is an error.

export const state = Object.seal({
  // What is drawn: the charts of the list of metrics, and what draws them; null until the list has come.
  charts: [],
  board: null,
  tiles: null,
  // {start, end} in unix seconds, and `range` while it follows the present.
  view: null,
  // The newest answer for the view, and when buckets were last added to it.
  columns: null,
  appended: 0,
  // The view is being dragged; three times its width has been asked for.
  isMoving: false,
  isWide: false,
  settling: 0,
  // What the question of who used the machine was asked for, and by what it is sorted.
  who: null,
  sort: "cpu",
  // When the newest sample was stored, and when the last hour was last asked for.
  newest: 0,
  minute: 0,
  // Whether the daemon is being asked how it is, and when it is asked next.
  isChecking: false,
  timer: 0,
  // Since when it has not answered, 0 while it does; what else it refused; whether it wants the token.
  deadSince: 0,
  failure: "",
  isSignedOut: false,
});
