// The way to the server: one JSON object out, one back; answers to `ask` come as a stream.

import { language, say, words } from "./dom.js";

const BASE = new URL("gradio_api/", document.baseURI);
const BESIDE = new URL("./", document.baseURI);

/** The server was not reached, or its answer broke off. */
export class Unreachable extends Error {}

/** The server said why not, in one sentence. */
export class Refused extends Error {}

/** Asks one question that is answered at once. */
export async function call(name, request = {}) {
  const { data } = await post(`run/${name}`, request);
  return understood(data?.[0]);
}

/** Asks a question that is answered bit by bit: yields objects until the answer is whole. */
export async function* stream(name, request) {
  const { event_id: event } = await post(`call/${name}`, request);
  const response = await reach(`call/${name}/${event}`, {});
  for await (const { kind, data } of events(response)) {
    if (kind === "generating") yield understood(data?.[0]);
    if (kind === "complete") return;
    if (kind === "error") throw new Unreachable(name);
  }
  throw new Unreachable(name);
}

/** Who is signed in: { name, role, sign_in }. */
export async function account() {
  return (await reach(new URL("account", BESIDE), {})).json();
}

/** Signs in with the key of the link in the terminal, or out. */
export async function signIn(key) {
  return (await reach(new URL("sign-in", BESIDE), asJson({ key }))).json();
}

export async function signOut() {
  return (await reach(new URL("sign-out", BESIDE), asJson({}))).json();
}

function asJson(value) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
}

async function post(path, request) {
  return (await reach(path, asJson({ data: [request] }))).json();
}

async function reach(path, options) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), options);
  } catch {
    throw new Unreachable(path);
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  if (response.status === 503 || !said.error) throw new Unreachable(path, { cause: response.status });
  throw new Refused(inOurWords(said));
}

function understood(value) {
  if (!value || typeof value !== "object") throw new Refused("");
  if (value.error) throw new Refused(inOurWords(value));
  return value;
}

/** What the server says, or the reason of a state, in this language where it has words for it; else as it came. */
export function inOurWords({ error, reason, name, gaps = {} }) {
  if (!words.server.faults[name]) return error ?? reason;
  const filled = Object.entries(gaps).map(([gap, value]) => [gap, typeof value === "number" ? value.toLocaleString(language) : value]);
  return say(`server.faults.${name}`, Object.fromEntries(filled));
}

/** The events of a text/event-stream. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (waiting + value).split("\n\n");
      waiting = blocks.pop();
      yield* blocks.map(parsed);
    }
  } catch {
    throw new Unreachable("stream");
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
  return { kind: lines.event, data: JSON.parse(lines.data ?? "null") };
}
