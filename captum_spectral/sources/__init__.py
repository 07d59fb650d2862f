"""Where a model and a photograph come from: names to networks, files to images.

Nothing else in this package needs it but the command line.
"""
