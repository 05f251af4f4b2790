// The page is a client of the server's public APIs and of nothing else.

function headers(more = {}) {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

// The response; an error carries the server's own line.
export async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.ok) return response;
  if (response.status === 401) document.querySelector(".key").hidden = false;
  const body = await response.json().catch(() => ({}));
  const detail = Array.isArray(body.detail) ? body.detail[0].msg : body.detail;
  throw new Error(body.error?.message ?? detail ?? `the server answers ${response.status}`);
}

export function post(path, body, signal) {
  if (body instanceof FormData) return ask(path, { method: "POST", signal, body });
  const options = { method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return ask(path, options);
}

// The server-sent events of a response; one that tells an error throws it.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const event = JSON.parse(part.slice(part.indexOf("data: ") + 6));
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

// The file of an event's picture.
export function pictureOf(event) {
  const bytes = Uint8Array.from(atob(event.b64_json), (character) => character.charCodeAt(0));
  return new File([bytes], `${event.seed ?? "preview"}.${event.output_format}`, { type: `image/${event.output_format}` });
}

export function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
