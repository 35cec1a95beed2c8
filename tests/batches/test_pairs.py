"""Pairs of a batch, in every form that a user may give."""

from __future__ import annotations

import pytest

from xcoreg.batches.pairs import read_pairs
from xcoreg.errors import OptionError
from xcoreg.files import NoSuchFile


def names(pairs):
    return [pair.name for pair in pairs]


def test_a_list_of_targets(scenes):
    pairs = read_pairs(scenes.targets, scenes.ref)
    assert names(pairs) == ["a", "b", "c"]
    assert {pair.reference for pair in pairs} == {str(scenes.ref)}


def test_pairs_and_dictionaries(scenes):
    a, b, c = scenes.targets
    pairs = read_pairs([(a, b), {"target": str(c), "reference": a, "name": "last", "cloud": 3}])
    assert [(pair.target, pair.reference, pair.name) for pair in pairs] == [
        (str(a), str(b), "a"),
        (str(c), str(a), "last"),
    ]


def test_a_pattern_is_sorted(scenes):
    assert names(read_pairs(str(scenes.folder / "[a-c].tif"), scenes.ref)) == ["a", "b", "c"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_with_paths_from_its_own_folder(scenes, separator):
    table = scenes.folder / "jobs.csv"
    rows = ["target,reference,name,note", "a.tif,ref.tif,first,x", f"{scenes.targets[1]},ref.tif,,"]
    table.write_text("\n".join(rows).replace(",", separator), encoding="utf-8-sig")
    pairs = read_pairs(table)
    assert names(pairs) == ["first", "b"]
    assert pairs[0].target == str(scenes.folder / "a.tif")


def test_a_table_of_pandas(scenes):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"target": [str(path) for path in scenes.targets], "name": [None, "x", None]})
    assert names(read_pairs(frame, scenes.ref)) == ["a", "x", "c"]


def test_folders_make_names_unique():
    targets = ["s3://host/T33/2020/B04.jp2", "s3://host/T33/2021/B04.jp2"]
    assert names(read_pairs(targets, "s3://host/ref.tif")) == ["2020_B04", "2021_B04"]


def test_an_address_with_a_query_is_no_pattern(scenes):
    address = "https://host/a.tif?sig=1"
    assert [pair.target for pair in read_pairs(address, scenes.ref)] == [address]


def test_the_fit_of_one_scene_is_not_the_record_of_another(scenes):
    a, b, _ = scenes.targets
    with pytest.raises(OptionError, match="belong to several scenes"):
        read_pairs([{"target": a, "name": "s"}, {"target": b, "name": "S.fit"}], scenes.ref)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([], "there is nothing to do"),
        ("s3://x/?.tif", "there is nothing to do"),
        (["s3://host/a.tif"], "pair 1 has no reference"),
        ([("s3://host/a.tif", "")], "pair 1 has no reference"),
        ([{"reference": "s3://host/a.tif"}], "pair 1 has no target"),
        ([3], "pair 1 is 3"),
        (5, "pairs is a int"),
        ([{"target": "s3://h/a.tif", "reference": "s3://h/r.tif", "name": "../a"}], "cannot be the name of a file"),
        ([("s3://h/a.tif", "s3://h/r.tif"), ("s3://h/a.tif", "s3://h/s.tif")], "belong to several scenes"),
    ],
)
def test_what_cannot_be_worked_on_is_refused(pairs, sentence):
    with pytest.raises(OptionError, match=sentence):
        read_pairs(pairs)


def test_a_missing_file_or_column_is_refused(scenes):
    table = scenes.folder / "jobs.csv"
    table.write_text("tgt,reference\na.tif,ref.tif\n")
    with pytest.raises(OptionError, match="has no column 'target', but tgt, reference"):
        read_pairs(table)
    with pytest.raises(NoSuchFile, match=r"none\.tif does not exist"):
        read_pairs([scenes.folder / "none.tif"], scenes.ref)
    with pytest.raises(NoSuchFile, match=r"no\.csv does not exist"):
        read_pairs(scenes.folder / "no.csv")


@pytest.mark.parametrize(
    "name", ["../a", "a/b", "/a", "..", ".a", "a\0b", "CON", "nul.x", "a.", "a ", "x" * 250, "a\ud800"]
)
def test_names_that_are_no_file_in_the_folder_are_refused(name, tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(OptionError, match="cannot be the name of a file"):
        read_pairs([{"target": tmp_path / "a.tif", "reference": tmp_path / "a.tif", "name": name}])


def test_names_that_some_file_system_takes_for_one_are_refused(tmp_path):
    (tmp_path / "a.tif").touch()
    rows = [{"target": tmp_path / "a.tif", "reference": tmp_path / "a.tif", "name": name} for name in ("é", "E\u0301")]
    with pytest.raises(OptionError, match="belong to several scenes"):
        read_pairs(rows)
