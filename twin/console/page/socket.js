// One socket: subscriptions, full pictures by channel, and a new try when it breaks.

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const SILENT_MS = 3000;
const NO_SEAT = 4401;

export class Socket {
  constructor(handlers, onSilence) {
    this.handlers = handlers;
    this.onSilence = onSilence;
    this.channels = new Set();
    this.tries = 0;
    this.heard = performance.now();
    this.silent = false;
    setInterval(() => this.check(), 500);
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => { for (const ch of this.channels) this.send("sub", ch); };
    this.socket.onmessage = (event) => this.take(event.data);
    this.socket.onclose = (event) => {
      if (event.code === NO_SEAT) location.assign("/");
      else setTimeout(() => this.open(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)] * (0.8 + 0.4 * Math.random()));
    };
  }

  subscribe(ch) {
    this.channels.add(ch);
    this.send("sub", ch);
  }

  unsubscribe(ch) {
    this.channels.delete(ch);
    this.send("unsub", ch);
  }

  send(op, ch) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ op, ch }));
  }

  take(data) {
    this.heard = performance.now();
    this.tries = 0;
    if (this.silent) this.check();
    if (typeof data !== "string") {
      this.handlers.floor?.(data);
      return;
    }
    const message = JSON.parse(data);
    this.handlers[message.ch]?.(message);
  }

  check() {
    const silent = performance.now() - this.heard > SILENT_MS;
    if (silent !== this.silent) {
      this.silent = silent;
      this.onSilence(silent);
    }
  }
}
