"""Files in a page: what is shown is whole and the folder's own, and what is not says so."""

import base64
import io
import re

import pytest
from PIL import Image

from jaxgan import pages


def embedded(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content)
    return pages.embedded(file)


def picture(form="PNG", size=(3, 2), **how):
    held = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(held, form, **how)
    return held.getvalue()


@pytest.mark.parametrize(("form", "ending"), [("PNG", ".png"), ("GIF", ".gif"), ("JPEG", ".jpg")])
def test_a_picture_is_decoded_before_it_is_shown(tmp_path, form, ending):
    good = picture(form, (40, 30))
    shown = embedded(tmp_path, f"a{ending}", good)
    assert base64.b64decode(re.search(r'base64,([^"]*)"', shown)[1]) == good
    other = picture("PNG" if form != "PNG" else "GIF")
    for bad in (
        good[: len(good) // 2],
        b"",
        b"root:x:0:0:root:/root:/bin/bash\n",
        other,
        good[:20] + b"\0" * 200,
    ):
        shown = embedded(tmp_path, f"b{ending}", bad)
        assert shown == f'<p class="note">b{ending} is damaged, and not shown here.</p>'


def test_a_picture_that_would_fill_the_memory_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "PIXELS", 100)
    assert "damaged" in embedded(tmp_path, "a.png", picture(size=(11, 10)))
    assert "<img" in embedded(tmp_path, "a.png", picture(size=(10, 10)))


@pytest.mark.parametrize("name", ["step_00000001.png", "step_00000001.csv", "step_00000001.txt"])
def test_what_a_link_leads_to_is_not_in_a_report(tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_bytes(picture() if name.endswith(".png") else b"secret,words\n")
    (tmp_path / name).symlink_to(secret)
    shown = pages.embedded(tmp_path / name)
    assert shown == f'<p class="note">{name} is a link or no file, and not shown here.</p>'


def test_texts_of_a_page_hold_no_markup_and_no_controls():
    assert pages.text('<a href="x">\x1b[2J\u202e\udcff\n') == (
        "&lt;a href=&quot;x&quot;&gt;\\x1b[2J\\u202e\\udcff\n"
    )
    pages.text("\ud800").encode()
