"""From the classes of a data set to the outputs of a model."""

import json

import pytest

from captum_spectral.sources.labels import class_ids, read_label_map

CATEGORIES = ["tench", "crane", "hen", "crane"]


@pytest.mark.parametrize(
    ("classes", "options", "expected"),
    [
        (["b", "a"], {"label_map": {"a": 0, "b": 3, "c": 99}}, [3, 0]),
        (["1", "2"], {"label_map": {"1": 2, "2": 2}}, [2, 2]),  # the map comes first
        (["0", "1", "10", "2"], {"num_classes": 11}, [0, 1, 10, 2]),
        (["0003", "0001"], {"categories": CATEGORIES}, [3, 1]),
        (["hen", "tench"], {"categories": CATEGORIES}, [2, 0]),
        (["a", "b", "c", "d"], {}, [0, 1, 2, 3]),
        (["a", "b", "c", "d"], {"categories": CATEGORIES}, [0, 1, 2, 3]),
        (["a", "b", "hen", "crane"], {"categories": CATEGORIES}, [0, 1, 2, 3]),
    ],
)
def test_rules_from_classes_to_outputs(classes, options, expected):
    assert class_ids(classes, **{"num_classes": 4, **options}) == expected


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        (list("abcde"), {"label_map": {"a": 0}}, "no entry for the class b, c, d and 1 more"),
        (["a"], {"label_map": {"a": 4}}, r"class a stands for output 4, .* 4 outputs \(0 to 3\)"),
        (["a"], {"label_map": {"a": -1}}, "stands for output -1"),
        (["1", "4"], {}, "class 4 stands for output 4, .* give a label map"),
        (["hen", "crane"], {"categories": CATEGORIES}, "crane: .* several .* give a label map"),
        (
            ["a", "b", "c"],
            {},
            r"3 classes \(folders: a, b, c\), the model has 4 outputs; give a",
        ),
        (["²", "³"], {}, r"2 classes"),  # digits, but not numbers
        ([], {}, "0 classes"),
        (
            ["a", "hen", "rooster", "tench"],
            {"categories": CATEGORIES},
            "hen is number 1 of the data and 2 of .* have no a, rooster; .* give a label map",
        ),
    ],
)
def test_classes_that_no_rule_settles_ask_for_a_label_map(classes, options, message):
    with pytest.raises(ValueError, match=message):
        class_ids(classes, **{"num_classes": 4, **options})


IMAGENET = {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("map.json", '{"cat": 3, "golf ball": 0}', {"cat": 3, "golf ball": 0}),
        ("map", '{"cat": 3}', {"cat": 3}),
        ("index.json", json.dumps(IMAGENET), {"n01440764": 0, "n01443537": 1}),
        ("map.txt", "cat 3\ndog\t5\n", {"cat": 3, "dog": 5}),
        ("map.csv", "cat,3\r\ngolf ball, 5\r\na, b,7", {"cat": 3, "golf ball": 5, "a, b": 7}),
        ("map.txt", "\ufeffcat 3\n\n", {"cat": 3}),
        ("map.txt", "0 0\n10 10\n", {"0": 0, "10": 10}),
        (
            "synsets.txt",
            "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n",
            {"n01440764": 0, "n01443537": 1},
        ),
        ("synsets.csv", "n01440764,tench\nn01443537,goldfish", {"n01440764": 0, "n01443537": 1}),
    ],
)
def test_label_maps_of_every_form(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_label_map(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "it is empty"),
        ("a.txt", "cat 1\ndog two\n", "line 2 must end in an integer .* 'dog two'"),
        ("a.csv", "folder,id\ncat,1\n", "line 1 must end in an integer .* 'folder,id'"),
        ("a.txt", "cat 1\n\ndog 2\n", "line 2 must end in an integer"),
        ("a.txt", "cat 1\ncat 2\n", "line 2: the folder cat comes a second time"),
        ("a.txt", "cat -1\n", "line 1: the id must be an integer from 0, got '-1'"),
        ("a.txt", "cat 1.0\n", "line 1: the id must be an integer from 0, got '1.0'"),
        ("a.txt", "n01 5 tench\nn02 7 hen\n", "line 1 has a number and words after the folder"),
        ("a.txt", "n01 tench\nn02\n", "line 2 must be 'folder id', .* got 'n02'"),
        ("a.txt", "n01 tench\n\nn02 hen\n", "line 2 must be"),
        ("a.txt", "n01 tench\nn01 hen\n", "line 2: the folder n01 comes a second"),
        ("a.json", '{"cat": 1,\n "dog": }', "line 2"),
        ("a.json", "[1, 2]", r'it must hold \{"folder": id'),
        ("a.json", "3", "it must hold"),
        ("a.json", "{}", "it must hold"),
        ("a.json", '{"cat": 1.5}', r'entry "cat" must be an integer, or a list .* got 1.5'),
        ("a.json", '{"cat": true}', 'entry "cat": the id must be an integer from 0, got True'),
        ("a.json", '{"cat": -2}', 'entry "cat": the id must be an integer from 0, got -2'),
        ("a.json", '{"cat": {"a": 1}}', 'entry "cat" must be'),
        ("a.json", '{"cat": []}', 'entry "cat" must be'),
        ("a.json", '{"cat": 1, "cat": 2}', 'entry "cat": the folder cat comes a second time'),
        ("a.json", '{"x": ["n01", "tench"]}', "entry \"x\": the id must .* got 'x'"),
        ("a.json", "[" * 100_000, "recursion|Recursion"),
        ("a.txt", b"\xff\xfe\x00", "utf-8"),
    ],
)
def test_bad_label_maps_name_file_and_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"{name} cannot be read as a label map: .*{message}"):
        read_label_map(path)


def test_a_label_map_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.json"):
        read_label_map(tmp_path / "nothing.json")


NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(("name", "other"), [(NFC, NFD), (NFD, NFC), ("\u212b", "A\u030a")])
def test_names_are_compared_as_they_look(name, other):
    assert class_ids([name, "bar"], 2, label_map={other: 1, "bar": 0}) == [1, 0]
    assert class_ids(["bar", name], 3, categories=[other, "tea", "bar"]) == [2, 0]
    with pytest.raises(ValueError, match=rf"{name} is number 0 of the data and 1 of the model's"):
        class_ids([name, "bar"], 2, categories=["tea", other])


def test_a_name_as_it_is_spelled_comes_before_one_that_looks_like_it():
    both = {NFC: 0, NFD: 1}
    assert class_ids([NFD, NFC], 2, label_map=both) == [1, 0]
    assert class_ids(["A\u030a"], 9, label_map={"\u212b": 4, "\u00c5": 4}) == [4]
    with pytest.raises(
        ValueError, match=r"several entries that look like the class .* other normal"
    ):
        class_ids(["A\u030a"], 9, label_map={"\u212b": 4, "\u00c5": 5})
    with pytest.raises(ValueError, match=rf"{NFC}: the model has several categories of that name"):
        class_ids([NFC], 9, categories=[NFC, NFD])


def test_similar_names_are_not_the_same():
    with pytest.raises(ValueError, match="no entry for the class cafe"):
        class_ids(["cafe"], 2, label_map={NFC: 1})
