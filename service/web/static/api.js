// Asks by relative addresses: a proxy may serve the page below a path.

// Seconds that the host's clock is ahead of this one.
let ahead = 0;
export const now = () => Date.now() / 1000 + ahead;

// `status`: of Tidemark's answer, 0 where none came.
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

const read = async (response) => {
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  // A proxy in front of a dead daemon answers too, but not in JSON.
  if (!isJson && response.status !== 204) throw new Refused(0, "no answer");
  const difference = (Date.parse(response.headers.get("Date")) - Date.now()) / 1000;
  // The header has whole seconds.
  ahead = Math.abs(difference) > 2 ? difference : 0;
  return { status: response.status, body: isJson ? await response.json() : {} };
};

const answer = async (path, options, seconds) => {
  const signal = AbortSignal.any([AbortSignal.timeout(seconds * 1000), options.signal ?? []].flat());
  try {
    return await read(await fetch(path, { ...options, signal }));
  } catch (error) {
    if (options.signal?.aborted) throw new DOMException("a newer request replaced it", "AbortError");
    throw error instanceof Refused ? error : new Refused(0, "no answer");
  }
};

const waiting = {};

// Else what was asked before a sign-in would sign out again.
export const forget = () => Object.values(waiting).forEach((control) => control.abort());

// An answer of the v1 API. An older request of its kind that still waits throws an AbortError.
export const ask = async (name, parameters = {}, kind = name) => {
  waiting[kind]?.abort();
  const { signal } = waiting[kind] = new AbortController();
  const pairs = Object.entries(parameters).flatMap(([key, value]) => [value].flat().map((one) => [key, one]));
  const query = pairs.length ? `?${new URLSearchParams(pairs)}` : "";
  const { status, body } = await answer(`api/v1/${name}${query}`, { signal }, 20);
  if (status !== 200) throw new Refused(status, body.error);
  return body;
};

// A status of 503 is an answer too.
export const health = async () => (await answer("healthz", {}, 4)).body;

export const sign = async (way, fields = {}) => {
  const { status, body } = await answer(`sign-${way}`, { method: "POST", body: new URLSearchParams(fields) }, 10);
  if (status !== 204) throw new Refused(status, body.error);
};
