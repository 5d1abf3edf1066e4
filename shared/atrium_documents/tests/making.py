"""Make small files of many formats, so that tests need none from outside."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

A4 = (595, 842)


# -- PDF ----------------------------------------------------------------------------------------


@dataclass
class PdfPage:
    """Drawing operators of one page; places in points from the top left."""

    operators: list[str] = field(default_factory=list)
    jpeg: bytes = b""
    jpeg_size: tuple[int, int] = (0, 0)
    rotate: int = 0

    def text(
        self, x: float, y: float, text: str, size: float = 11, *, bold: bool = False
    ) -> PdfPage:
        font = "F2" if bold else "F1"
        data = "".join(f"\\{c}" if c in "()\\" else c for c in text)
        self.operators.append(f"BT /{font} {size} Tf 1 0 0 1 {x} {A4[1] - y} Tm ({data}) Tj ET")
        return self

    def chinese(self, x: float, y: float, text: str, size: float = 11) -> PdfPage:
        data = text.encode("utf-16-be").hex()
        self.operators.append(f"BT /F3 {size} Tf 1 0 0 1 {x} {A4[1] - y} Tm <{data}> Tj ET")
        return self

    def rare(self, x: float, y: float, text: str, size: float = 11) -> PdfPage:
        """Text in a font whose letters A to D are 𠮷, 家, 😀 and a space of no width."""
        self.operators.append(f"BT /F4 {size} Tf 1 0 0 1 {x} {A4[1] - y} Tm ({text}) Tj ET")
        return self

    def lines(self, x: float, y: float, lines: Iterable[str], size: float = 11) -> PdfPage:
        for number, line in enumerate(lines):
            self.text(x, y + number * size * 1.25, line, size)
        return self

    def stroke(self, x0: float, y0: float, x1: float, y1: float) -> PdfPage:
        self.operators.append(f"0.7 w {x0} {A4[1] - y0} m {x1} {A4[1] - y1} l S")
        return self

    def grid(self, xs: Sequence[float], ys: Sequence[float]) -> PdfPage:
        for y in ys:
            self.stroke(xs[0], y, xs[-1], y)
        for x in xs:
            self.stroke(x, ys[0], x, ys[-1])
        return self

    def picture(self, image: Image.Image) -> PdfPage:
        out = io.BytesIO()
        image.convert("RGB").save(out, "JPEG", quality=85)
        self.jpeg, self.jpeg_size = out.getvalue(), image.size
        self.operators.append(f"q {A4[0]} 0 0 {A4[1]} 0 0 cm /Im Do Q")
        return self


_RARE_LETTERS = (
    b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def "
    b"1 begincodespacerange <00> <FF> endcodespacerange 4 beginbfchar <41> <D842DFB7> "
    b"<42> <5BB6> <43> <D83DDE00> <44> <200B> endbfchar endcmap end end"
)


def pdf(
    pages: Sequence[PdfPage],
    *,
    title: str = "",
    outline: Sequence[tuple[str, int]] = (),
    encrypted: bool = False,
) -> bytes:
    """Return a PDF file; ``outline`` gives (title, page from 1)."""
    objects: list[bytes] = [b""]  # 1: catalogue, filled in last

    def add(body: str | bytes) -> int:
        objects.append(body.encode("latin-1") if isinstance(body, str) else body)
        return len(objects)

    def stream(head: str, data: bytes) -> bytes:
        return f"<<{head} /Length {len(data)}>>\nstream\n".encode() + data + b"\nendstream"

    helvetica = add("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    bold = add("<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>")
    descendant = add(
        "<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/DW 1000"
        "/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>>>"
    )
    song = add(
        "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UTF16-H"
        f"/DescendantFonts[{descendant} 0 R]>>"
    )
    table = add(stream("", _RARE_LETTERS))
    rare = add(f"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode {table} 0 R>>")
    kids: list[int] = []
    parent = len(objects) + 1 + sum(2 + bool(page.jpeg) for page in pages)
    for page in pages:
        content = add(stream("", "\n".join(page.operators).encode("latin-1")))
        xobject = ""
        if page.jpeg:
            width, height = page.jpeg_size
            image = add(
                stream(
                    f"/Type/XObject/Subtype/Image/Width {width}/Height {height}"
                    "/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/DCTDecode",
                    page.jpeg,
                )
            )
            xobject = f"/XObject<</Im {image} 0 R>>"
        kids.append(
            add(
                f"<</Type/Page/Parent {parent} 0 R/MediaBox[0 0 {A4[0]} {A4[1]}]"
                f"/Rotate {page.rotate}/Contents {content} 0 R/Resources<<"
                f"/Font<</F1 {helvetica} 0 R/F2 {bold} 0 R/F3 {song} 0 R/F4 {rare} 0 R>>"
                f"{xobject}>>>>"
            )
        )
    refs = " ".join(f"{kid} 0 R" for kid in kids)
    assert add(f"<</Type/Pages/Kids[{refs}]/Count {len(kids)}>>") == parent
    outlines = ""
    if outline:
        first = len(objects) + 2
        last = first + len(outline) - 1
        root = add(f"<</Type/Outlines/First {first} 0 R/Last {last} 0 R/Count {len(outline)}>>")
        for place, (name, page_number) in enumerate(outline):
            links = f"/Prev {first + place - 1} 0 R" if place else ""
            links += f"/Next {first + place + 1} 0 R" if place + 1 < len(outline) else ""
            hexed = ("\ufeff" + name).encode("utf-16-be").hex()
            dest = f"/Dest[{kids[page_number - 1]} 0 R/Fit]"
            add(f"<</Title<{hexed}>/Parent {root} 0 R{links}{dest}>>")
        outlines = f"/Outlines {root} 0 R"
    info = add(f"<</Title<{(chr(0xFEFF) + title).encode('utf-16-be').hex()}>>>") if title else 0
    objects[0] = f"<</Type/Catalog/Pages {parent} 0 R{outlines}>>".encode()
    trailer = f"/Size {len(objects) + 1}/Root 1 0 R" + (f"/Info {info} 0 R" if info else "")
    if encrypted:
        # The keys fit no password, so every password is wrong.
        key = "ab" * 32
        trailer += f"/ID[<{key[:32]}><{key[:32]}>]"
        trailer += f"/Encrypt<</Filter/Standard/V 1/R 2/O<{key}>/U<{key}>/P -4>>"
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n" % number + body + b"\nendobj\n")
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for offset in offsets:
        out.write(b"%010d 00000 n \n" % offset)
    out.write(f"trailer\n<<{trailer}>>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


# -- pictures -----------------------------------------------------------------------------------


def picture(
    lines: Sequence[str], size: tuple[int, int] = (1000, 1400), height: int = 42
) -> Image.Image:
    """Return a page with lines of English text."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(height)
    for number, line in enumerate(lines):
        draw.text((80, 100 + number * height * 1.6), line, fill="black", font=font)
    return image


def image_bytes(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


# -- Office -------------------------------------------------------------------------------------

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
    'relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
    'officeDocument" Target="word/document.xml"/></Relationships>'
)


def archive(members: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return out.getvalue()


def raw_docx(
    body: str, *, prolog: str = "", more: Mapping[str, str | bytes] | None = None
) -> bytes:
    """Return a DOCX file from the XML of its body."""
    document = f"{prolog}<w:document {WORD}><w:body>{body}</w:body></w:document>"
    return archive(
        {
            "[Content_Types].xml": _TYPES,
            "_rels/.rels": _RELATIONS,
            "word/document.xml": document,
            **(more or {}),
        }
    )


def paragraph_xml(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


# -- OLE (MS-CFB) and Outlook (MS-OXMSG) --------------------------------------------------------

Tree = Mapping[str, "bytes | Tree"]
_FREE, _END, _NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF


def ole(tree: Tree) -> bytes:
    """Return a compound file whose streams all lie in its mini stream (so below 4 kB each)."""
    entries: list[tuple[str, int, int, int, int, int]] = []  # name type right child start size
    mini = bytearray()
    mini_fat: list[int] = []

    def add_children(children: Tree) -> int:
        first = _NONE
        for name, content in reversed(list(children.items())):
            index = len(entries)
            entries.append((name, 0, 0, 0, 0, 0))
            if isinstance(content, bytes):
                assert len(content) < 4096
                start = len(mini_fat) if content else _END
                mini.extend(content + b"\0" * (-len(content) % 64))
                _chain(mini_fat, -(-len(content) // 64))
                entries[index] = (name, 2, first, _NONE, start, len(content))
            else:
                entries[index] = (name, 1, first, add_children(content), 0, 0)
            first = index
        return first

    entries.append(("Root Entry", 5, _NONE, _NONE, _END, 0))
    entries[0] = ("Root Entry", 5, _NONE, add_children(tree), 0, len(mini))
    while len(entries) % 4:
        entries.append(("", 0, _NONE, _NONE, 0, 0))
    parts = [
        bytes(mini),
        struct.pack(f"<{len(mini_fat)}I", *mini_fat),
        b"".join(_entry(*entry) for entry in entries),
    ]
    parts = [part + b"\xff" * (-len(part) % 512) for part in parts]
    sectors = [len(part) // 512 for part in parts]
    fat: list[int] = []
    for count in sectors:
        _chain(fat, count)
    place = len(fat)
    fat += [0xFFFFFFFD] + [_FREE] * (127 - len(fat))
    assert len(fat) == 128
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6,
        0, 1, sectors[0] + sectors[1], 0, 4096, sectors[0], sectors[1], _END, 0,
    )  # fmt: skip
    header += struct.pack("<I", place) + struct.pack("<I", _FREE) * 108
    return header + b"".join(parts) + struct.pack("<128I", *fat)


def _chain(fat: list[int], sectors: int) -> None:
    for number in range(sectors):
        fat.append(len(fat) + 1 if number + 1 < sectors else _END)


def _entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
    encoded = name.encode("utf-16-le")
    length = len(encoded) + 2 if name else 0
    return struct.pack(
        "<64sHBBIII16xIQQIQ", encoded, length, kind, 1, _NONE, right, child, 0, 0, 0, start, size
    )


def msg(
    subject: str, body: str, *, html: bytes = b"", attachments: Mapping[str, bytes] | None = None
) -> bytes:
    """Return an Outlook mail from Ann to Bo."""
    attachments = attachments or {}
    head = struct.pack("<8x4I8x", 0, len(attachments), 0, len(attachments))
    strings = {0x0037: subject, 0x1000: body, 0x0C1A: "Ann", 0x0C1F: "ann@example.com"}
    binaries = {0x1013: html} if html else {}
    tree: dict[str, bytes | Tree] = dict(_properties(strings, binaries, head))
    for number, (name, content) in enumerate(attachments.items()):
        tree[f"__attach_version1.0_#{number:08X}"] = _properties(
            {0x3707: name}, {0x3701: content}, b"\0" * 8
        )
    return ole(tree)


def _properties(
    strings: Mapping[int, str], binaries: Mapping[int, bytes], head: bytes
) -> dict[str, bytes]:
    streams = {f"{pid:04X}001F": text.encode("utf-16-le") for pid, text in strings.items()}
    streams |= {f"{pid:04X}0102": data for pid, data in binaries.items()}
    table = b"".join(
        struct.pack("<IIII", int(name, 16), 6, len(data) + 2 * name.endswith("1F"), 0)
        for name, data in streams.items()
    )
    return {
        "__properties_version1.0": head + table,
        **{f"__substg1.0_{name}": data for name, data in streams.items()},
    }
