// A mask painted over a picture: with a mouse, a pen or a finger; or with arrow keys and the space bar.

export class Brush {
  #canvas;
  #cursor;
  #context;
  #point = null;
  #isUsed = false;

  // `size` gives the brush's width in parts of the picture's longer side, `erases` whether it takes paint away.
  constructor(canvas, cursor, size, erases) {
    [this.#canvas, this.#cursor, this.#context] = [canvas, cursor, canvas.getContext("2d")];
    this.size = size;
    this.erases = erases;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#follow(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => { cursor.hidden = true; });
  }

  // A clean canvas of a picture's pixels.
  start(width, height) {
    [this.#canvas.width, this.#canvas.height] = [width, height];
    [this.#point, this.#isUsed] = [{ x: width / 2, y: height / 2 }, false];
  }

  clear() {
    this.start(this.#canvas.width, this.#canvas.height);
  }

  // A PNG file that is transparent where something was painted; null where nothing was.
  async mask() {
    if (!this.#isUsed) return null;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.#canvas.width, this.#canvas.height];
    const context = canvas.getContext("2d");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(this.#canvas, 0, 0);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  }

  #begin(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#cursor.hidden = true;
    this.#point = this.#at(event);
    this.#paintTo(this.#point);
  }

  #follow(event) {
    if (!this.#canvas.hasPointerCapture(event.pointerId)) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) this.#paintTo(this.#at(each));
  }

  #key(event) {
    const step = this.#width() / 4;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    const [x, y] = move ?? [0, 0];
    const to = {
      x: Math.min(Math.max(this.#point.x + x, 0), this.#canvas.width),
      y: Math.min(Math.max(this.#point.y + y, 0), this.#canvas.height),
    };
    if (event.key === " " || event.shiftKey) this.#paintTo(to);
    this.#point = to;
    this.#cursor.hidden = false;
    this.#cursor.style.left = `${(to.x / this.#canvas.width) * 100}%`;
    this.#cursor.style.top = `${(to.y / this.#canvas.height) * 100}%`;
  }

  #paintTo(to) {
    const context = this.#context;
    context.globalCompositeOperation = this.erases() ? "destination-out" : "source-over";
    context.lineWidth = this.#width();
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = getComputedStyle(this.#canvas).color;
    context.beginPath();
    context.moveTo(this.#point.x, this.#point.y);
    context.lineTo(to.x, to.y + 0.01); // a line of no length would leave no dot
    context.stroke();
    this.#point = to;
    this.#isUsed = true;
  }

  #width() {
    return this.size() * Math.max(this.#canvas.width, this.#canvas.height);
  }

  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.#canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.#canvas.height,
    };
  }
}
