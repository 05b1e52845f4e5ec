"""How good is a model, and is it better than another: answers, scores, intervals, a page to look at.

items       questions with a checkable answer, from files
subject     what is evaluated: a Hugging Face folder, an adapter, a GGUF as it is served, an endpoint
scores      what an answer is worth: ROUGE (overlap), checks, length, bits per byte
intervals   how sure a difference is: a paired bootstrap, resampled by cluster
compare     two models on the same items: differences, what was fixed, what broke
order       what is to be evaluated; results: everything scored; judge: results to verdict
page        the items that changed most, side by side; table: the card as text
run         one evaluation, from its order to a finished folder; kept: what an interrupted one has
evaluate    the verb
"""
