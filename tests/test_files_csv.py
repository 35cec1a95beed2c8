import pytest

from xcoreg.csv_files import read_csv
from xcoreg.errors import OptionError
from xcoreg.files import NoSuchFile


def table(folder, text, **how):
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(folder / "t.csv", **how)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "a; b\n1; 2\n", "a\tb\r\n1\t2\r\n", b"\xef\xbb\xbfa,b\n\n 1 ,2,\n"])
def test_separators_marks_and_blanks_of_many_programs_are_read(tmp_path, text):
    assert table(tmp_path, text).to_dict("list") == {"a": ["1"], "b": ["2"]}


def test_cells_stay_text_and_empty_ones_are_empty(tmp_path):
    found = table(tmp_path, 'id,x,name\n007,0.10,NA\n8,,"a, b"\n')
    assert found.to_numpy().tolist() == [["007", "0.10", "NA"], ["8", "", "a, b"]]


def test_comments_are_kept_apart(tmp_path):
    found = table(tmp_path, "#CRS: EPSG:4326\na,b\n1,2 # 3\n")
    assert found.attrs["comments"] == ["#CRS: EPSG:4326"]
    assert found["b"].tolist() == ["2 # 3"]


def test_columns_of_text_need_no_header(tmp_path):
    found = table(tmp_path, "12.5   52.1\n 13\t53\n", header=False, spaces=True)
    assert found.to_numpy().tolist() == [["12.5", "52.1"], ["13", "53"]]


def test_a_header_alone_is_an_empty_table(tmp_path):
    found = table(tmp_path, "a,b\n")
    assert list(found.columns) == ["a", "b"]
    assert len(found) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no table"),
        ("# only a comment", "holds no table"),
        ("a,b\n1,2\n3\n", "fewer cells"),
        ("a,b\n1,2\n3,4,5\n", "cannot be read as a table"),
        (b"II*\x00\xff\xfe", "not a text file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(OptionError, match=message):
        table(tmp_path, text)


def test_no_file(tmp_path):
    with pytest.raises(NoSuchFile, match="does not exist"):
        read_csv(tmp_path / "no.csv")


@pytest.mark.parametrize("header", ["x, x,y", "a,b,a ", " id,id,z"])
def test_a_column_named_twice_is_refused(header, tmp_path):
    (tmp_path / "a.csv").write_text(f"{header}\n1,2,3\n")
    with pytest.raises(OptionError, match="twice"):
        read_csv(tmp_path / "a.csv")
