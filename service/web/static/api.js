// Asks by relative addresses: the page may lie below a path of a proxy.

// Seconds that the host's clock is ahead of this one.
let ahead = 0;
export const now = () => Date.now() / 1000 + ahead;

// `status`: that of an answer of Tidemark's; 0 where none came.
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

const read = async (response) => {
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  // A proxy before a dead daemon answers too, and not in JSON.
  if (!isJson && response.status !== 204) throw new Refused(0, "no answer");
  const difference = (Date.parse(response.headers.get("Date")) - Date.now()) / 1000;
  // The header has whole seconds, so a small difference is none.
  ahead = Math.abs(difference) > 2 ? difference : 0;
  return { status: response.status, body: isJson ? await response.json() : {} };
};

const answer = async (path, options, seconds) => {
  const slow = AbortSignal.timeout(seconds * 1000);
  const signal = options.signal ? AbortSignal.any([options.signal, slow]) : slow;
  try {
    return await read(await fetch(path, { ...options, signal }));
  } catch (error) {
    if (options.signal?.aborted) throw new DOMException("another took its place", "AbortError");
    throw error instanceof Refused ? error : new Refused(0, "no answer");
  }
};

const waiting = new Map();

// Whoever signs in is not shown an older refusal.
export const forget = () => waiting.forEach((control) => control.abort());

// An answer of the v1 API. An older question of the same kind that still waits throws an AbortError.
export const ask = async (name, parameters, kind = name) => {
  waiting.get(kind)?.abort();
  const control = new AbortController();
  waiting.set(kind, control);
  const pairs = Object.entries(parameters).flatMap(([key, value]) => [value].flat().map((one) => [key, one]));
  const { status, body } = await answer(`api/v1/${name}?${new URLSearchParams(pairs)}`, { signal: control.signal }, 20);
  if (status !== 200) throw new Refused(status, body.error);
  return body;
};

// 503 is an answer too.
export const health = async () => (await answer("healthz", {}, 4)).body;

export const sign = async (way, fields = {}) => {
  const { status, body } = await answer(`sign-${way}`, { method: "POST", body: new URLSearchParams(fields) }, 10);
  if (status !== 204) throw new Refused(status, body.error);
};
