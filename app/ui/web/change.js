// A change of what may leave: offered in the panel and in the settings, told to the server now or once it is
// reached. It holds for the flags that were given before; the earlier turns are seen before they are added.

import { ask, look, remembered, summary } from "./consent.js";
import { h, words } from "./dom.js";
import * as store from "./store.js";

const THREAD = "flag+thread";

/** What this visitor said of their flags, as a line that lets it be changed. `actions` reach server and thread. */
export class ConsentChange {
  constructor(actions) {
    this.actions = actions;
  }

  /** What may leave this machine, and the button that changes it. */
  line() {
    if (!this.actions.sends()) return [words.stays_here];
    const text = remembered() ? words.consent_change : words.consent_decide;
    const button = h("button", { type: "button", class: "link", onclick: () => this.#change(button) }, text);
    return [`${summary()} `, button];
  }

  /** What a change does to the flags that were given before. */
  note() {
    return this.actions.sends() ? words.consent_already : "";
  }

  /** Tells the server of a change that it has not heard of; turns are added up to the answer `seen` only. */
  async settle(seen = null) {
    if (!store.consentDue.read()) return;
    if (remembered() && this.actions.sends()) await this.actions.agree(seen, remembered(), true);
    store.consentDue.write(false);
  }

  /** Asks anew. A change holds for all flags given before; a first answer, on wish, for those shown. */
  async #change(button) {
    const line = button.parentElement;
    const isChange = Boolean(remembered());
    const shown = this.actions.flags();
    const isForOthers = await ask(shown.length);
    if (isForOthers === null) return;
    store.consentDue.write(isChange);
    await this.actions.attempt(async () => {
      const seen = isForOthers && shown.length && await this.#hasSeen(shown) ? shown.at(-1).message : null;
      if (isChange) await this.settle(seen);
      else if (seen) await this.actions.agree(seen, remembered());
    });
    await this.actions.changed();
    line.replaceChildren(...this.line());
    line.querySelector("button").focus();
  }

  /** The earlier turns are seen before they are added to a flag; the newest flag has them all. */
  async #hasSeen(shown) {
    const consent = remembered();
    if (consent.scope !== THREAD || shown.every(({ flag }) => flag.scope === THREAD)) return true;
    const { message, flag: { verdict } } = shown.at(-1);
    return look(await this.actions.preview(message, { verdict, consent }));
  }
}
