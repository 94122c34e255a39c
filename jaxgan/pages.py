r"""Files and texts in a page of HTML that needs nothing else.

What is shown may be of a stranger's folder: texts are escaped, pictures are decoded first, and links are left out.

For example:

    >>> text("<script>")
    '&lt;script&gt;'
    >>> size = Path("rows.csv").write_text("a,b\n1,2\n")
    >>> embedded(Path("rows.csv"))
    '<div class="wide"><table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table></div>'
    >>> Path("link.csv").symlink_to("rows.csv")
    >>> embedded(Path("link.csv"))
    '<p class="note">link.csv is a link or no file, and not shown here.</p>'
"""

import base64
import csv
import html
import io
import stat
from pathlib import Path

from PIL import Image

from jaxgan import saying

SIDE = 560
"""Pixels to which small pictures are enlarged, about."""
LINES = 40
"""Lines of a file of text or of a table that are shown, at most."""
LARGEST = 2**24
"""Bytes of a file that is shown, at most."""
MEDIA = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".mp4": "video/mp4",
}
"""What browsers show and play, by the ending of a file."""

FORMATS = {".png": "PNG", ".gif": "GIF", ".jpg": "JPEG"}
"""What Pillow calls the pictures that it reads."""
PIXELS = 2**26
"""Most pixels of a picture that is shown."""


def text(value: object) -> str:
    """A text of one line or several, with neither markup nor controls."""
    return html.escape(saying.lines(str(value)))


def figure(png: bytes, caption: str, kind: str = "") -> str:
    """A picture that was drawn for the page, with its caption; `kind` is its class of style."""
    shown = f'<img class="{kind}" alt="{text(caption)}" src="{_data(png, ".png")}">'
    return captioned(shown, caption)


def captioned(shown: str, caption: str) -> str:
    """Anything that is shown, with its caption."""
    return f'<figure class="wide">{shown}<figcaption>{text(caption)}</figcaption></figure>'


def _data(content: bytes, ending: str) -> str:
    return f"data:{MEDIA[ending]};base64,{base64.b64encode(content).decode()}"


def _width(png: bytes) -> int:
    """How many pixels wide a picture is shown: small ones larger, with every pixel made a square of pixels."""
    with Image.open(io.BytesIO(png)) as image:
        return image.width * -(-SIDE // max(image.size))


def _is_picture(content: bytes, ending: str) -> bool:
    """Whether bytes are the picture that the ending of their file says, as a whole."""
    try:
        for look in ("verify", "load"):  # each needs the file anew
            with Image.open(io.BytesIO(content), formats=[FORMATS[ending]]) as image:
                if image.width * image.height > PIXELS:
                    return False
                getattr(image, look)()
    except Exception:  # Pillow raises many kinds where a file is damaged
        return False
    return True


def embedded(file: Path) -> str:
    """A file in the page: pictures are shown, sounds and films played, tables and texts read; links are left out."""
    kind, size = MEDIA.get(file.suffix, ""), file.lstat().st_size
    if not stat.S_ISREG(file.lstat().st_mode):
        return f'<p class="note">{text(file.name)} is a link or no file, and not shown here.</p>'
    if size > LARGEST:
        return f'<p class="note">{text(file.name)} is too large to be shown here ({size / 2**20:.0f} MB).</p>'
    content = file.read_bytes()
    if file.suffix in FORMATS and not _is_picture(content, file.suffix):
        return f'<p class="note">{text(file.name)} is damaged, and not shown here.</p>'
    if file.suffix == ".png":
        width = _width(content)
        return f'<img class="pixels" alt="samples" style="width: {width}px" src="{_data(content, ".png")}">'
    if kind.startswith("image/"):
        return f'<img alt="samples" src="{_data(content, file.suffix)}">'
    if kind:
        player = kind.split("/")[0]
        return f'<{player} controls src="{_data(content, file.suffix)}"></{player}>'
    try:
        lines = content.decode().split("\n")
        rows = list(csv.reader(io.StringIO(content.decode()))) if file.suffix == ".csv" else []
    except (UnicodeDecodeError, csv.Error):
        return f'<p class="note">{text(file.name)} cannot be shown here.</p>'
    lines = lines[:-1] if lines[-1] == "" else lines
    more = f'<p class="note">{len(lines) - LINES:,} more lines</p>' if len(lines) > LINES else ""
    if file.suffix != ".csv":
        return f"<pre>{text(chr(10).join(lines[:LINES]))}</pre>{more}"
    cells = ("".join(f"<td>{text(cell)}</td>" for cell in row) for row in rows[:LINES])
    return f'<div class="wide"><table>{"".join(f"<tr>{row}</tr>" for row in cells)}</table></div>{more}'
