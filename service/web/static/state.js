// What the page knows and does now. Sealed: only what is declared here can be set. Times are unix seconds.

export const state = Object.seal({
  view: null, // what is shown: {start, end}, and a `range` of RANGES while it follows the present
  columns: null, // the answer for it
  by: "name", // whom who used the machine lists: names or services
  key: "cpu", // what they used: CPU or memory
  compared: "none", // what the view is compared with, a word of COMPARED
  layered: 0, // when who used the machine over time was last asked for
  appended: 0, // when buckets were last appended to that
  isMoving: false, // by hand
  isWide: false, // what lies around it was asked for
  settling: 0, // the timer until it rests
  who: null, // who used the machine, as shown: {start, end, title, isMoment, sort, by}
  metrics: null, // the names of the metrics that are drawn, or a promise of them
  newest: 0, // when the newest sample was stored
  minute: 0, // when the tiles' hour was last asked for
  firstCapture: null, // when it is known at the latest who used the machine first
  deadSince: 0, // 0 while there are answers
  failure: "", // the last error
  calendar: null, // of the year
  mounts: null, // every one
  devices: null, // disks, interfaces, sensors
  isSignedOut: false,
  isChecking: false, // health is being asked for
  timer: 0, // until it is next
});
