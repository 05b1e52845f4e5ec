// Who is signed in: the line at the foot of the sidebar, the link of the terminal, and the way to the Hub's sign-in.

import { byId, h, say, toast, words } from "./dom.js";
import * as server from "./server.js";
import * as views from "./views.js";

const LINK = /^#\/sign-in\/([\w-]+)$/;
const FAILED = "failed";

let account = { name: "", role: "visitor", sign_in: "" };

export const role = () => account.role;

/** Whether the address is the link of the terminal. */
export const isAsked = () => LINK.test(location.hash);

/** Takes the link's key out of the address and shows it to the server; then asks who is signed in. */
export async function settle() {
  const key = LINK.exec(location.hash)?.[1];
  if (key) history.replaceState(null, "", location.pathname + location.search);
  const isSigned = key ? await show(key) : false;
  await look();
  if (isSigned && account.role === "maintainer") toast(say("welcome", account));
  return isSigned;
}

async function show(key) {
  if (key === FAILED) { toast(words.sign_in_failed); return false; }
  try {
    await server.signIn(key);
    return true;
  } catch (fault) {
    if (!(fault instanceof server.Refused)) throw fault;
    toast(words.sign_in_spent);
    return false;
  }
}

async function look() {
  account = await server.account();
  draw();
}

function draw() {
  const { name, role, sign_in: way } = account;
  const place = byId("account");
  place.hidden = !name && !way;
  if (place.hidden) return;
  if (name) {
    const line = say(role === "maintainer" ? "signed_in_maintainer" : "signed_in", { name });
    place.replaceChildren(h("span", {}, line), h("button", { type: "button", class: "link", onclick: signOut }, words.sign_out));
  } else {
    place.replaceChildren(h("a", { class: "link", href: new URL(way, document.baseURI).href, ...whereToOpen() }, words.sign_in));
  }
}

/** The Hub cannot be shown inside another page: there, signing in has a tab of its own, and stays in it. */
function whereToOpen() {
  return window.parent === window ? {} : { target: "_blank", rel: "noopener" };
}

async function signOut() {
  try {
    await server.signOut();
    await look();
    toast(words.signed_out);
    views.roleChanged();
  } catch {
    toast(words.no_server);
  }
}
