// A file input for a picture: it rejects other files at once, and the choice survives a reload.

import { $, markRight, markWrong } from "./messages.js";
import { form as kept } from "./store.js";

const BEGINNINGS = [/^\x89PNG/, /^\xff\xd8\xff/, /^RIFF[^]{4}WEBP/];

export class PictureInput {
  file = null;

  // It calls `changed` with the new file, or null, after every change.
  constructor(input, remove, image, changed) {
    Object.assign(this, { input, remove, image, changed });
    input.addEventListener("change", () => this.choose(input.files[0] ?? null));
    remove.addEventListener("click", () => { this.choose(null); input.focus(); });
  }

  async choose(file) {
    markRight(this.input);
    const wrong = file && (await wrongWith(file, Number(this.input.dataset.bytes), Number(this.input.dataset.side)));
    if (wrong) {
      markWrong(this.input, wrong, true);
      this.input.value = "";
      return;
    }
    this.#take(file);
    kept.put(this.input.id, file).catch(() => {});
  }

  // Restores the choice from before a reload.
  async restore() {
    const file = await kept.get(this.input.id).catch(() => null);
    if (file && !this.file) this.#take(file);
  }

  #take(file) {
    this.file = file;
    this.remove.disabled = !file;
    URL.revokeObjectURL(this.image.src);
    this.image.hidden = !file;
    if (file) this.image.src = URL.createObjectURL(file);
    else this.image.removeAttribute("src");
    const shown = new DataTransfer(); // so the input itself shows the file's name
    if (file) shown.items.add(file);
    this.input.files = shown.files;
    this.changed(file);
  }
}

// Why a file is unusable as a picture; null for a usable one.
async function wrongWith(file, mostBytes, mostSide) {
  const bytes = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  const beginning = String.fromCharCode(...bytes);
  if (!BEGINNINGS.some((each) => each.test(beginning))) return `${file.name} is no PNG, JPEG or WebP picture.`;
  if (file.size > mostBytes) return `${file.name} has ${megabytes(file.size)}; the server takes at most ${megabytes(mostBytes)}.`;
  try {
    const picture = await createImageBitmap(file);
    const [width, height] = [picture.width, picture.height];
    picture.close();
    if (Math.max(width, height) <= mostSide) return null;
    return `${file.name} has ${width}×${height} pixels; the server takes at most ${mostSide}×${mostSide}.`;
  } catch {
    return `${file.name} is damaged.`;
  }
}

export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
