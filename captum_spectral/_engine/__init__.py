"""The coalition engine: which rows share a forward pass, how many, and what if they do not fit.

Nothing here knows of Captum, of attributions or of what the rows mean to a user.
"""
