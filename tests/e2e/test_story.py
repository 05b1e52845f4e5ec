"""What a stakeholder does, in a real browser against a real server: ask, read, stop, edit, return, flag."""

import json
import re
import signal
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, expect

REASONS = ("Facts are wrong or made up", "Out of date")
CORRECTION = "You can return things within 45 days."

WATCH_GROWTH = """() => {
  window.lengths = [];
  const watch = new MutationObserver(() => {
    const text = document.querySelector('.pending .text')?.textContent ?? '';
    if (text && text.length !== window.lengths.at(-1)) window.lengths.push(text.length);
  });
  watch.observe(document.getElementById('thread'), { subtree: true, childList: true, characterData: true });
}"""

HOLD_OFFERS = """() => {
  const later = setTimeout;
  window.setTimeout = (deed, wait, ...more) => (wait === 8000 ? 0 : later(deed, wait, ...more));
}"""
"""The way back is offered for eight seconds, which a busy machine may need for itself."""


def test_an_answer_arrives_bit_by_bit(chat: Any) -> None:
    chat.page.evaluate(WATCH_GROWTH)
    answer = chat.ask("What can you do?")
    lengths = chat.page.evaluate("window.lengths")
    assert len(lengths) >= 2 and lengths == sorted(lengths)
    expect(chat.sent_line(answer)).to_contain_text("sent: this question only")


def test_the_history_switch_decides_what_is_sent(chat: Any) -> None:
    chat.ask("My order number is 4821.")
    with_history = chat.ask("Where is it?")
    expect(chat.sent_line(with_history)).to_contain_text("sent: 1 earlier turn, ")
    chat.page.get_by_role("radio", name="Off").check()
    without = chat.ask("Where is it?")
    expect(chat.sent_line(without)).to_contain_text("sent: this question only")


def test_the_model_uses_the_history_that_it_gets_and_asks_without(chat: Any) -> None:
    chat.ask("My order number is 4821.")
    expect(chat.ask("Where is my order?")).to_contain_text("4821")
    chat.page.get_by_role("radio", name="Off").check()
    without = chat.ask("Where is my order?")
    expect(without).not_to_contain_text("4821")
    expect(without).to_contain_text(re.compile("order number", re.IGNORECASE))


def test_a_reload_finds_the_conversation_with_its_answers(chat: Any) -> None:
    chat.ask("How long can I return things?")
    text = chat.answers.last.locator(".text").inner_text()
    chat.page.reload()
    expect(chat.answers.last.locator(".text")).to_have_text(re.compile(re.escape(text[:20])))
    expect(chat.sent_line(chat.answers.last)).to_be_visible()
    expect(chat.page.get_by_role("navigation").get_by_role("listitem")).to_have_text(
        "How long can I return things?"
    )


def test_an_edited_question_is_asked_again_and_its_first_version_stays(chat: Any) -> None:
    chat.ask("Do you ship to France?")
    first = chat.questions.last
    first.hover()
    chat.button(first, "Edit this question").click()
    editor = chat.page.get_by_role("textbox", name="Edit your question")
    expect(editor).to_have_value("Do you ship to France?")
    editor.fill("Do you ship to Spain?")
    editor.press("Enter")
    expect(chat.questions).to_have_text(re.compile("Spain"))
    expect(chat.stop).to_have_count(0)
    expect(chat.questions.last).to_contain_text("2 of 2")
    chat.button(chat.questions.last, "Previous version").click()
    expect(chat.questions).to_have_text(re.compile("France"))
    expect(chat.sent_line(chat.answers.last)).to_be_visible()


def test_an_answer_can_be_asked_for_again_and_both_versions_stay(chat: Any) -> None:
    answer = chat.ask("What can you do?")
    chat.button(answer, "Answer again").click()
    expect(chat.answers.last).to_contain_text("2 of 2")
    expect(chat.stop).to_have_count(0)
    chat.button(chat.answers.last, "Previous version").click()
    expect(chat.answers.last).to_contain_text("1 of 2")


def test_undo_puts_the_question_back_into_the_box(chat: Any) -> None:
    chat.ask("What can you do?")
    chat.button(chat.ask("Do you ship to France?"), "Take this question back").click()
    expect(chat.box).to_have_value("Do you ship to France?")
    expect(chat.questions).to_have_count(1)


def test_a_deleted_conversation_can_be_brought_back(chat: Any) -> None:
    chat.page.evaluate(HOLD_OFFERS)
    chat.ask("What can you do?")
    item = chat.page.get_by_role("navigation").get_by_role("listitem")
    item.hover()
    chat.button(item, "Delete the conversation").click()
    expect(item).to_have_count(0)
    expect(chat.page.get_by_role("heading", name="How can I help?")).to_be_visible()
    chat.page.get_by_role("button", name="Undo").click()
    expect(item).to_have_count(1)
    expect(chat.questions).to_have_count(1)


def test_an_example_question_is_asked_with_one_click(chat: Any) -> None:
    chat.page.get_by_role("button", name="What can you do?").click()
    expect(chat.answers).to_have_count(1)
    expect(chat.stop).to_have_count(0)


def test_what_cannot_be_sent_stays_in_the_box(chat: Any) -> None:
    chat.box.press("Enter")
    expect(chat.page.get_by_text("Write a question first.")).to_be_visible()
    chat.box.fill("long " * 200_000)
    chat.box.press("Enter")
    expect(chat.page.get_by_text("This message has 1,000,000 characters and 32,000 fit.")).to_be_visible()
    assert chat.box.evaluate("(box) => box.value.length") == 1_000_000
    expect(chat.questions).to_have_count(0)


def test_a_vote_counts_at_the_first_click_and_goes_at_the_second(chat: Any) -> None:
    answer = chat.ask("What can you do?")
    good = chat.button(answer, "Good answer")
    good.click()
    expect(chat.panel()).to_contain_text("Your vote is saved.")
    expect(good).to_have_attribute("aria-pressed", "true")
    good.click()
    chat.toast("Your feedback on this answer is taken back.")
    expect(chat.panel()).to_have_count(0)
    expect(good).to_have_attribute("aria-pressed", "false")
    chat.page.reload()
    expect(chat.sent_line(chat.answers.last)).to_be_visible()
    expect(chat.button(chat.answers.last, "Good answer")).to_have_attribute("aria-pressed", "false")


def test_a_killed_server_loses_neither_flag_nor_conversation(
    new_server: Callable[[], Any], open_chat: Callable[..., Any]
) -> None:
    server = new_server()
    chat = open_chat(server)
    answer = chat.ask("How long can I return things?")
    flag_as_outdated(chat, answer)

    server.end(signal.SIGKILL)
    chat.box.fill("And from abroad?")
    chat.box.press("Enter")
    expect(chat.page.get_by_role("alert")).to_contain_text("The server is not reached.")
    expect(chat.box).to_have_value("And from abroad?")
    server.start()
    chat.toast("The server is back.")
    chat.page.reload()
    chat.wait()

    expect(chat.button(chat.answers.last, "Bad answer")).to_have_attribute("aria-pressed", "true")
    chat.button(chat.answers.last, "Give feedback").click()
    panel = chat.panel()
    for name in REASONS:
        expect(panel.get_by_role("checkbox", name=name)).to_be_checked()
    expect(panel.get_by_role("radio", name="Major")).to_be_checked()
    expect(panel.get_by_role("textbox", name="What should it have said?")).to_have_value(CORRECTION)
    listed = server.backtalk("flags", "list", "--json").splitlines()[-1]
    assert "factual_error" in listed and "outdated" in listed, json.loads(listed)
    expect(chat.sent_line(chat.ask("And from abroad?"))).to_contain_text("1 earlier turn")
    assert server.end(signal.SIGTERM) == 0


def flag_as_outdated(chat: Any, answer: Locator) -> None:
    """Two reasons, a severity and a correction, which begins as the answer itself."""
    chat.button(answer, "Bad answer").click()
    panel = chat.panel()
    expect(panel).to_contain_text("Your vote is saved.")
    for name in REASONS:
        panel.get_by_role("checkbox", name=name).check()
    panel.get_by_role("radio", name="Major").check()
    correction = panel.get_by_role("textbox", name="What should it have said?")
    assert correction.input_value().split() == answer.locator(".text").inner_text().split()
    correction.fill(CORRECTION)
    panel.get_by_role("button", name="Save").click()
    expect(panel).to_contain_text("Saved on this machine")
