"""Where answers are made: the model that answers, what is sent to it, and the signed transcript of it all."""
