"""What a visitor meets: settings, transcript, conversation, answers, flags, and the page under ui/.

Imports backtalk and feedback; nobody imports app. gradio stands only in app/ui and app/serve.
"""
