// Asks the API. Every address is relative, so that the page works below a path of a proxy.

// How far the host's clock is ahead of this one, in seconds: a view that ends now ends at the host's now.
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
  if (!isJson && response.status !== 204) throw new Refused(0, `answer ${response.status} is not Tidemark's`);
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (date) {
    const difference = (date - Date.now()) / 1000;
    // The header knows whole seconds alone, so a small difference is none.
    ahead = Math.abs(difference) > 2 ? difference : 0;
  }
  return response.status === 204 ? {} : await response.json();
};

const answer = async (path, options, milliseconds) => {
  const slow = AbortSignal.timeout(milliseconds);
  const signal = options.signal ? AbortSignal.any([options.signal, slow]) : slow;
  try {
    const response = await fetch(path, { ...options, signal });
    const body = await read(response);
    return { status: response.status, body };
  } catch (error) {
    if (options.signal?.aborted) throw new DOMException("another took its place", "AbortError");
    throw error instanceof Refused ? error : new Refused(0, "no answer");
  }
};

const query = (parameters) => {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  return new URLSearchParams(pairs).toString();
};

// One answer of the v1 API. Throws Refused, or an AbortError where `signal` said so.
export const ask = async (name, parameters = {}, signal = undefined) => {
  const { status, body } = await answer(`api/v1/${name}?${query(parameters)}`, { signal }, 20000);
  if (status !== 200) throw new Refused(status, body.error ?? `status ${status}`);
  return body;
};

// 503 is an answer too: it says what is wrong.
export const health = async () => (await answer("healthz", {}, 4000)).body;

export const sign = async (way, fields = {}) => {
  const { status, body } = await answer(`sign-${way}`, { method: "POST", body: new URLSearchParams(fields) }, 10000);
  if (status !== 204) throw new Refused(status, body.error);
};
