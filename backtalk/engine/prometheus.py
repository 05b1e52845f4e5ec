"""The engine's numbers as Prometheus reads them: the text format, version 0.0.4."""

from collections.abc import Iterator

from backtalk.engine.metrics import Histogram, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGES = {
    "queued": ("backtalk_queued", "Answers that wait for their turn."),
    "active": ("backtalk_active", "Answers in the making."),
    "idle_bytes": ("backtalk_idle_context_bytes", "Contexts of idle conversations in RAM."),
}
COUNTERS = {
    "asked": ("backtalk_asked_total", "Answers that were asked for."),
    "refused": ("backtalk_refused_total", "Questions refused because too many were waiting."),
    "read": ("backtalk_prompt_tokens_read_total", "Tokens of prompts that were computed."),
    "found": ("backtalk_prompt_tokens_cached_total", "Tokens of prompts that were known already."),
    "restored": ("backtalk_context_tokens_restored_total", "Known tokens that came back from RAM."),
    "dropped": ("backtalk_context_tokens_dropped_total", "Tokens of contexts dropped for lack of memory."),
    "written": ("backtalk_completion_tokens_total", "Tokens of answers."),
    "steps": ("backtalk_steps_total", "Steps of the model."),
    "busy_seconds": ("backtalk_busy_seconds_total", "Seconds that the model was computing."),
}
ENDED = ("backtalk_answers_total", "Answers by why they ended.")
FIRST_TOKEN = ("backtalk_first_token_seconds", "From a question to the first token of its answer.")


def as_text(metrics: Metrics) -> str:
    """All of `metrics`, one sample a line."""
    return "\n".join([*_lines(metrics), ""])


def _lines(metrics: Metrics) -> Iterator[str]:
    for kind, table in (("gauge", GAUGES), ("counter", COUNTERS)):
        for field, (name, help) in table.items():
            yield from _head(name, help, kind)
            yield f"{name} {getattr(metrics, field)}"
    yield from _head(*ENDED, "counter")
    for reason, number in sorted(metrics.ended.items()):
        yield f'{ENDED[0]}{{reason="{reason}"}} {number}'
    yield from _head(*FIRST_TOKEN, "histogram")
    yield from _histogram(FIRST_TOKEN[0], metrics.first_token)


def _head(name: str, help: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"


def _histogram(name: str, histogram: Histogram) -> Iterator[str]:
    """Prometheus counts upwards: each bucket holds all smaller ones."""
    below = 0
    for bound, number in zip([*histogram.bounds, "+Inf"], histogram.counts, strict=True):
        below += number
        yield f'{name}_bucket{{le="{bound}"}} {below}'
    yield f"{name}_sum {histogram.total}"
    yield f"{name}_count {below}"
