"""The page: a Gradio app whose look and behaviour are files of ours in web/, one module per tab.

Promise: works without any network but its own server, shows what a visitor typed as text, and says
"saved" only after the disk has said so.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nobody is told of a visit
