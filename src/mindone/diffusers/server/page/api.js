// The page uses only the server's public APIs.

const GONE = "The server does not answer. Check that mindone-diffusers serve is still running, then try again.";

// A refusal from the server; `field` is the wrong field of the request, if the server names one.
export class Refused extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

function headers(more = {}) {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

// Returns the response; an error has the server's message.
export async function ask(path, options = {}) {
  const response = await answered(fetch(path, { ...options, headers: headers(options.headers) }));
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const isSent = Boolean(sessionStorage.getItem("key"));
  if (response.status === 401) throw new Refused(isSent ? "The server does not accept this key." : "The server needs an API key.", "key");
  const first = Array.isArray(body.detail) ? body.detail[0] : null;
  const message = body.error?.message ?? first?.msg ?? body.detail ?? `The server answered with status ${response.status}.`;
  throw new Refused(message, body.error?.param ?? first?.loc?.[1] ?? null);
}

export function post(path, body, signal) {
  if (body instanceof FormData) return ask(path, { method: "POST", signal, body });
  const options = { method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return ask(path, options);
}

// Yields the server-sent events of a response; throws an error event.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [text, isComplete] = ["", false];
  for (;;) {
    const { value, done } = await answered(reader.read());
    if (done && !isComplete) throw new Error(GONE); // it broke off
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = JSON.parse(part.slice(part.indexOf("data: ") + 6));
      if (event.error) throw new Refused(event.error.message, event.error.param);
      isComplete = event.type.endsWith(".completed");
      yield event;
    }
  }
}

// Replaces the network's own errors ("Failed to fetch") by a clear one; keeps the abort after Stop.
async function answered(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(GONE);
  }
}

// Returns an event's picture as a file.
export function pictureOf(event) {
  const bytes = Uint8Array.from(atob(event.b64_json), (character) => character.charCodeAt(0));
  return new File([bytes], `picture.${event.output_format}`, { type: `image/${event.output_format}` });
}

export function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
