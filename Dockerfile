# syntax=docker/dockerfile:1
# The chat on port 7860, on a CPU: for a demo on one's own machine (compose.yaml) and for a Docker Space.
#
#   make image                                        builds it
#   docker run --rm -p 7860:7860 backtalk             serves it; flags live as long as the container
#   docker compose up                                 the same with a volume for what is to be kept

# Both stages have one base, so that what is compiled in the first finds its libraries in the second.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /backtalk
# What decides the versions comes first: the layer that takes minutes is made anew only when they change.
COPY pyproject.toml LICENSE README.md ./
COPY constraints constraints
COPY scripts scripts
COPY app/__init__.py app/__init__.py
COPY backtalk/__init__.py backtalk/__init__.py
COPY export/__init__.py export/__init__.py
COPY feedback/__init__.py feedback/__init__.py
# The script of `make run`: the pinned versions, and llama.cpp for no particular CPU.
RUN python -m scripts.install app \
    && .venv/bin/python -m pip uninstall --quiet --yes pip setuptools
COPY app app
COPY backtalk backtalk
COPY export export
COPY feedback feedback
COPY models/mini/README.md models/mini/card.json models/mini/mini-Q8_0.gguf models/mini/
COPY space.py ./
# Compiled now, since the image's own files may be read-only later.
RUN .venv/bin/python -m compileall -q app backtalk export feedback space.py

FROM ${PYTHON}
# What llama.cpp computes in parallel with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# A Docker Space runs everything as user 1000.
RUN useradd --uid 1000 --create-home user \
    && mkdir /state \
    && chown user:user /state
COPY --from=build /backtalk /backtalk
WORKDIR /backtalk
USER user
# All that is written goes to /state, which may be a volume, and to /tmp.
ENV PATH=/backtalk/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BACKTALK_HOME=/state \
    HF_HOME=/state/hub-cache \
    HF_HUB_DISABLE_TELEMETRY=1 \
    GRADIO_TEMP_DIR=/tmp/gradio
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:7860/health', timeout=4)"]
# SIGTERM ends it in order: answers get a second, flags that may leave get ten.
STOPSIGNAL SIGTERM
CMD ["python", "space.py"]
