// What this browser keeps: the visitor's token, settings and conversations, one key each.
// A conversation is a tree of messages that the server signed; `leaf` is the end of the path that is shown.

const PREFIX = "backtalk.";
const INDEX = "index";
const memory = new Map();  // stands in where the browser keeps nothing

export const trouble = { blocked: false, full: false };

function read(name) {
  if (memory.has(name)) return memory.get(name);
  try {
    const kept = localStorage.getItem(PREFIX + name);
    if (kept !== null) return JSON.parse(kept);
  } catch (fault) {
    if (!(fault instanceof SyntaxError)) trouble.blocked = true;
  }
  return undefined;
}

function write(name, value) {
  memory.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    memory.delete(name);
    trouble.full = false;
    return true;
  } catch (fault) {
    if (fault.name === "QuotaExceededError") trouble.full = true;
    else trouble.blocked = true;
    return false;
  }
}

function erase(name) {
  memory.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    trouble.blocked = true;
  }
}

export const visitor = { read: () => read("visitor"), write: (token) => write("visitor", token) };
export const controls = { read: () => read("controls") ?? {}, write: (values) => write("controls", values) };

export const consent = { read: () => read("consent"), write: (said) => write("consent", said) };

/** Whether the server has yet to hear of a change of consent. */
export const consentDue = { read: () => read("consent-due") ?? false, write: (isDue) => write("consent-due", isDue) };

const MOST_FLAGS = 500;

/** What this browser knows of its visitor's flags, by the answer's id: the server's disk may be a new one some day. */
export const flags = {
  read: () => read("flags") ?? {},
  keep(message, known) {
    const kept = flags.read(), before = kept[message];
    const now = { ...before, ...known, at: known.at ?? before?.at ?? new Date().toISOString() };
    if (JSON.stringify(now) === JSON.stringify(before)) return;
    const newest = Object.entries({ ...kept, [message]: now }).sort(([, a], [, b]) => (a.at < b.at ? 1 : -1));
    write("flags", Object.fromEntries(newest.slice(0, MOST_FLAGS)));
  },
  drop(message) {
    const { [message]: gone, ...rest } = flags.read();
    if (gone) write("flags", rest);
  },
};

export const theme = {
  read: () => { try { return localStorage.getItem(`${PREFIX}theme`) ?? ""; } catch { return ""; } },
  write: (name) => { try { localStorage.setItem(`${PREFIX}theme`, name); } catch { trouble.blocked = true; } },
};

/** The language that the visitor chose; "": as the browser asks. */
export const language = {
  read: () => { try { return localStorage.getItem(`${PREFIX}language`) ?? ""; } catch { return ""; } },
  write: (tag) => { try { localStorage.setItem(`${PREFIX}language`, tag); } catch { trouble.blocked = true; } },
};

/** An id that the server accepts; crypto.randomUUID is missing where the page came over plain HTTP. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newConversation() {
  return { id: newId(), title: "", at: "", leaf: "", messages: {} };
}

/** The conversations, newest first: id, title, at. */
export function list() {
  const index = read(INDEX);
  return Array.isArray(index) ? [...index].sort((a, b) => (a.at < b.at ? 1 : -1)) : [];
}

export function load(id) {
  const conversation = read(`conversation.${id}`);
  return conversation?.messages ? conversation : null;
}

/** Keeps a conversation with what another tab has added to it; it moves to the top of the list. */
export function keep(conversation) {
  conversation.messages = { ...load(conversation.id)?.messages, ...conversation.messages };
  conversation.at = new Date().toISOString();
  write(`conversation.${conversation.id}`, conversation);
  const { id, title, at } = conversation;
  write(INDEX, [{ id, title, at }, ...list().filter((entry) => entry.id !== id)]);
}

export function remove(id) {
  erase(`conversation.${id}`);
  write(INDEX, list().filter((entry) => entry.id !== id));
}

// --- the tree ---

/** The messages from the first to the leaf. */
export function path(conversation) {
  const steps = [];
  for (let message = conversation.messages[conversation.leaf]; message; message = conversation.messages[message.parent]) {
    steps.push(message);
  }
  return steps.reverse();
}

export function add(conversation, message) {
  conversation.messages[message.id] = message;
  conversation.leaf = message.id;
}

/** The versions of a message: those with the same parent, oldest first. */
export function versions(conversation, message) {
  return Object.values(conversation.messages)
    .filter((other) => other.parent === message.parent && other.role === message.role)
    .sort((a, b) => (a.at < b.at ? -1 : 1));
}

/** Shows the newest path that goes through a message. */
export function turnTo(conversation, message) {
  const children = byParent(Object.values(conversation.messages));
  let end = message;
  while (children.has(end.id)) {
    end = children.get(end.id).reduce((newest, one) => (one.at > newest.at ? one : newest));
  }
  conversation.leaf = end.id;
}

function byParent(messages) {
  const children = new Map();
  for (const one of messages) children.set(one.parent, [...(children.get(one.parent) ?? []), one]);
  return children;
}
