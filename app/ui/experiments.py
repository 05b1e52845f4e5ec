"""The page of experiments: curves, table, and the buttons that stop, resume and clone.

panel()                              inside a tab
serve_experiments("127.0.0.1", 7870)     the page alone
"""

import gradio as gr

from app.maintain.watching import HEADS, look, names, tell

SECONDS = 2.0  # between two looks at the files


def panel(chosen: str = "") -> None:
    """Everything of the page, in the Blocks that are open."""
    first = chosen or next(iter(names()), "")
    now = look(first)
    with gr.Row():
        which = gr.Dropdown(names(), value=first or None, label="Experiment", scale=3)
        who = gr.Textbox(label="Your name", placeholder="for the report", scale=1)
    told = gr.Markdown(now.told)
    curves = gr.HTML(now.curves)
    table = gr.Dataframe(now.rows, headers=list(HEADS), interactive=False, wrap=True)
    with gr.Row():
        configuration = gr.Dropdown(now.configurations, label="Configuration", scale=1)
        changes = gr.Textbox(label="Changes of a clone", placeholder="optimiser.rate=1e-4 lora.r=8", scale=2)
        warm = gr.Checkbox(label="Go on from its weights", scale=1)
    with gr.Row():
        stop, resume, clone = (gr.Button(word) for word in ("Stop", "Resume", "Clone"))
    answer = gr.Markdown()

    def refresh(name: str | None) -> tuple[object, ...]:
        found = look(name or "")
        return f"**{name or ''}** {found.told}", found.curves, found.rows

    def of_experiment(name: str | None) -> object:
        return gr.Dropdown(choices=look(name or "").configurations)

    shown = [told, curves, table]
    gr.Timer(SECONDS).tick(refresh, which, shown, show_progress="hidden", api_visibility="private")
    for event in (which.change, configuration.focus):
        event(of_experiment, which, configuration, show_progress="hidden", api_visibility="private")
    given = [which, configuration, who]
    stop.click(lambda *words: ask("stop", *words), given, answer, api_visibility="private")
    resume.click(lambda *words: ask("resume", *words), given, answer, api_visibility="private")
    clone.click(ask_clone, [*given, changes, warm], answer, api_visibility="private")


def ask(action: str, name: str | None, configuration: str | None, who: str, *more: str) -> str:
    """Asks for one thing; what came of it, in words."""
    if not name or not configuration:
        return "Choose an experiment and a configuration first."
    return tell([action, name, configuration, *(["--by", who] if who.strip() else []), *more])


def ask_clone(name: str | None, configuration: str | None, who: str, changes: str, warm: bool) -> str:
    """Asks for a clone with what stands in the field of changes."""
    if not changes.strip():
        return "Say what the clone changes, such as optimiser.rate=1e-4."
    words = [word for change in changes.split() for word in ("--set", change)]
    return ask("clone", name, configuration, who, *words, *(["--warm"] if warm else []))


def serve_experiments(host: str, port: int, chosen: str = "") -> None:
    """Serves the page until Ctrl-C."""
    with gr.Blocks(title="Backtalk experiments", analytics_enabled=False) as blocks:
        panel(chosen)
    blocks.queue().launch(
        server_name=host, server_port=port, quiet=True, footer_links=[], inbrowser=False, share=False
    )
