"""Load models, photographs, data sets and label maps by name.

Only the command line needs this folder.
"""
