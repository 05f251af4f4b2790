// A mask painted over a picture with a mouse, a pen, a finger, or with arrow keys and the space bar.
// It is a list of strokes, in fractions of the picture's longer side, so the page can undo and store them.

const MOST_PIXELS = 1024; // of the canvas's longer side; the mask itself has the picture's size

export class Brush {
  strokes = [];
  #canvas;
  #cursor;
  #size = { width: 1, height: 1 };
  #point = { x: 0, y: 0 };
  #stroke = null;

  // `width` returns the brush's width as a fraction of the picture's longer side, `erases` whether it removes paint;
  // the brush calls `changed` after every stroke.
  constructor(canvas, cursor, width, erases, changed) {
    [this.#canvas, this.#cursor] = [canvas, cursor];
    Object.assign(this, { width, erases, changed });
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#follow(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.#end());
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const away of ["blur", "pointerleave"]) canvas.addEventListener(away, () => { cursor.hidden = true; });
  }

  // Sets the canvas up for a picture of this size, with earlier strokes.
  start(width, height, strokes = []) {
    this.#size = { width, height };
    const scale = Math.min(1, MOST_PIXELS / this.#longer);
    [this.#canvas.width, this.#canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    this.#point = { x: width / 2 / this.#longer, y: height / 2 / this.#longer };
    this.#set(strokes);
  }

  undo() {
    this.#set(this.strokes.slice(0, -1));
  }

  clear() {
    this.#set([]);
  }

  // Returns a PNG file that is transparent where there is paint; null without paint.
  async mask() {
    const canvas = Object.assign(document.createElement("canvas"), this.#size);
    const context = canvas.getContext("2d");
    for (const stroke of this.strokes) draw(context, stroke, this.#longer, "#000");
    if (!hasPaint(canvas)) return null;
    context.globalCompositeOperation = "source-out"; // opaque only where there is no paint
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  }

  get #longer() {
    return Math.max(this.#size.width, this.#size.height);
  }

  #set(strokes) {
    this.strokes = strokes;
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (const stroke of strokes) this.#paint(stroke);
    this.changed();
  }

  #begin(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#point = this.#at(event);
    this.#stroke = this.#newStroke([this.#point]);
    this.#paint(this.#stroke);
  }

  #follow(event) {
    if (this.#stroke) {
      for (const each of event.getCoalescedEvents?.() ?? [event]) this.#stretch(this.#at(each));
    } else {
      this.#point = this.#at(event);
    }
    this.#showCursor();
  }

  #stretch(to) {
    this.#paint({ ...this.#stroke, points: [this.#point, to] });
    this.#stroke.points.push(to);
    this.#point = to;
  }

  #end() {
    if (!this.#stroke) return;
    this.strokes.push(this.#stroke);
    this.#stroke = null;
    this.changed();
  }

  #key(event) {
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.undo();
      return;
    }
    const step = this.width() / 4;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    const [x, y] = move ?? [0, 0];
    const [right, bottom] = [this.#size.width / this.#longer, this.#size.height / this.#longer];
    const to = { x: Math.min(Math.max(this.#point.x + x, 0), right), y: Math.min(Math.max(this.#point.y + y, 0), bottom) };
    if (event.key === " " || event.shiftKey) {
      this.#stroke = this.#newStroke([this.#point, to]);
      this.#paint(this.#stroke);
      this.#end();
    }
    this.#point = to;
    this.#showCursor();
  }

  #newStroke(points) {
    return { points, width: this.width(), erases: this.erases() };
  }

  #paint(stroke) {
    const scale = Math.max(this.#canvas.width, this.#canvas.height);
    draw(this.#canvas.getContext("2d"), stroke, scale, getComputedStyle(this.#canvas).color);
  }

  #showCursor() {
    const box = this.#canvas.getBoundingClientRect();
    const scale = Math.max(box.width, box.height);
    const side = `${this.width() * scale}px`;
    Object.assign(this.#cursor.style, { left: `${this.#point.x * scale}px`, top: `${this.#point.y * scale}px`, width: side, height: side });
    this.#cursor.hidden = false;
  }

  #at(event) {
    const box = this.#canvas.getBoundingClientRect();
    const scale = Math.max(box.width, box.height);
    return { x: (event.clientX - box.left) / scale, y: (event.clientY - box.top) / scale };
  }
}

function draw(context, { points, width, erases }, scale, colour) {
  context.globalCompositeOperation = erases ? "destination-out" : "source-over";
  Object.assign(context, { lineWidth: width * scale, lineCap: "round", lineJoin: "round", strokeStyle: colour });
  context.beginPath();
  context.moveTo(points[0].x * scale, points[0].y * scale);
  for (const { x, y } of points) context.lineTo(x * scale, y * scale + 0.01); // a line without length leaves no dot
  context.stroke();
}

// Whether any paint is left, judged by a smaller copy.
function hasPaint(canvas) {
  const small = Object.assign(document.createElement("canvas"), { width: 128, height: 128 });
  const context = small.getContext("2d");
  context.drawImage(canvas, 0, 0, 128, 128);
  return context.getImageData(0, 0, 128, 128).data.some((value) => value > 0);
}
