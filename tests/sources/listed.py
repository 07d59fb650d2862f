"""All names and all labels of a list of pictures."""


def names(pictures):
    return [pictures.name_of(i) for i in range(len(pictures))]


def labels(pictures):
    return [pictures.label(i) for i in range(len(pictures))]
