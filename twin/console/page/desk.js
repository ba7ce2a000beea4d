// The desk: what this seat may do, and what became of it.

import { get, post, put, remove, uuid } from "./api.js";

const READY = [1, 0]; // standby, off
const ANSWER_TRIES = 10;
const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

export class Desk {
  constructor(seat, site) {
    this.seat = seat;
    this.site = site;
    this.run = null;
    this.asked = null; // the request that the owner of the run has not answered yet
    this.plants = [];
    this.online = true;
    for (const node of document.querySelectorAll("[data-right]")) node.hidden = !seat.can.includes(node.dataset.right);
    $("hall").replaceChildren(...site.halls.map((hall) => new Option(hall.id, hall.id)));
    if (seat.can.includes("command")) this.say("");
    $("pause").onclick = () => this.ask(() => post(this.run?.state === "running" ? "/api/run/pause" : "/api/run/resume"));
    $("speeds").onchange = (event) => this.ask(() => put("/api/run/speed", { speed: Number(event.target.value) }));
    $("trip").onclick = () => this.trip();
    $("start").onclick = () => this.start();
    $("leave").onclick = () => this.order(() => remove("/api/seat"), "").then(() => location.assign("/"));
  }

  showRun(run) {
    this.run = run;
    if (run !== null && this.asked !== null && run.answers === this.asked) {
      this.asked = null;
      this.say(run.error ? `Refused: ${run.error}` : "", Boolean(run.error));
    }
    const stands = run !== null && ["paused", "frozen"].includes(run.state);
    $("pause").textContent = stands ? "Resume" : "Pause";
    const speed = $("speeds");
    if (run !== null && document.activeElement !== speed) speed.value = String(run.speed);
    this.enable();
  }

  showPlants(plants) {
    this.plants = plants;
  }

  setOnline(online) {
    this.online = online;
    this.enable();
  }

  enable() {
    const alive = this.online && this.run !== null && this.run.state !== "ended";
    for (const id of ["pause", "speeds", "trip"]) $(id).disabled = !alive;
    $("start").disabled = !alive || this.run.state !== "running";
  }

  say(text, isProblem = false) {
    $("said").textContent = text;
    $("said").classList.toggle("problem", isProblem);
  }

  async order(action, done) {
    try {
      const answer = await action();
      this.say(done);
      return answer;
    } catch (problem) {
      this.say(`${problem.title}: ${problem.message}${problem.wayOut ? `. ${problem.wayOut}` : ""}`, true);
      return null;
    }
  }

  async ask(action) {
    this.asked = (await this.order(action, "asked"))?.request ?? null;
  }

  coolingPlant() {
    return this.site.units.find((unit) => unit.kind === "cooling_plant" && unit.hall === $("hall").value);
  }

  async trip() {
    const target = this.coolingPlant().id;
    const name = `trip the chillers of ${target}`;
    const inject = await this.order(() => post("/api/injects", { kind: "chiller_trip", target }), `${name}: sent`);
    if (inject !== null) await this.answered(`/api/injects/${inject.id}`, name);
  }

  // The first chiller of the hall that stands by; if none does, the plant says why not.
  async start() {
    const plant = this.plants.find((one) => one.hall === $("hall").value);
    const chillers = this.site.units.filter((unit) => unit.kind === "chiller" && unit.hall === $("hall").value);
    const first = READY.map((code) => plant?.chillers.indexOf(code) ?? -1).find((i) => i >= 0) ?? 0;
    const command = { id: uuid(), unit: chillers[first].id, verb: "chiller.start", params: {} };
    const name = `start ${command.unit}`;
    if ((await this.order(() => post("/api/commands", command), `${name}: sent`)) === null) return;
    await this.answered(`/api/commands/${command.id}`, name);
  }

  async answered(path, name) {
    for (let i = 0; i < ANSWER_TRIES; i++) {
      await wait(500);
      const answer = await this.order(() => get(path), `${name}: ${i < ANSWER_TRIES - 1 ? "sent" : "no answer yet"}`);
      if (answer === null) return;
      if (answer.state !== "pending") {
        const rejected = answer.state === "rejected";
        this.say(`${name}: ${answer.state}${rejected ? `: ${answer.reason}` : ""}`, rejected);
        return;
      }
    }
  }
}
