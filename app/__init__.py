"""What a visitor meets.

desk        the model that answers, what is sent to it, the signed transcript
flags       consent, the event, where it is and what became of it
compare     two models, one question
access      who is signed in, who maintains, which key programs show
programs    OpenAI's protocol and /metrics, beside the page
maintain    what a maintainer does
ui          the page: one file for each tab
serve, ask, watch    the verbs; settings has their knobs

Imports backtalk and feedback; nobody imports app. gradio stands only in app/ui and app/serve.
"""
