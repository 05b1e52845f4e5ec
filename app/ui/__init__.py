"""The page: a Gradio app whose look and behaviour are files of ours in web/, one module per tab.

Promise: works without any network but its own server, shows what a visitor typed as text, and says
"saved" only after the disk has said so.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nobody is told of a visit
# After each answer Gradio would sum up its last 10,000 in a table, for a page of its own that is closed here.
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**62)
