"""Files of pictures written and shown without Pillow: the slow, independent reference."""

import struct
import zlib

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the colour types of PNG


def packed(samples, bits):
    """Rows of samples, the highest bit first, every row padded to whole bytes."""
    rows = []
    for row in samples.reshape(len(samples), -1):
        text = "".join(f"{int(x):0{bits}b}" for x in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


def png(samples, depth, kind, *, palette=None, transparent=None, profile=None):
    """A PNG file of ``(H, W, channels)`` samples; ``transparent`` is the content of tRNS."""

    def chunk(name, content):
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    height, width = samples.shape[:2]
    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    if profile is not None:
        out += chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparent is not None:
        out += chunk(b"tRNS", transparent)
    rows = b"".join(b"\0" + row for row in packed(samples, depth))
    return out + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(samples, bits, photometric, *, order="<", extra=None, sample_format=None, more=()):
    """An uncompressed TIFF file of ``(H, W, channels)`` samples in the order of bytes ``order``."""
    height, width, channels = samples.shape
    if bits in (16, 32):
        data = samples.astype(f"{order}u{bits // 8}").tobytes()
    else:
        data = b"".join(packed(samples, bits))
    tags = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [1]),
        (262, 3, [photometric]), (273, 4, [0]), (277, 3, [channels]), (278, 4, [height]),
        (279, 4, [len(data)]),
    ]  # fmt: skip
    tags += [(338, 3, [extra])] if extra is not None else []
    tags += [(339, 3, [sample_format] * channels)] if sample_format is not None else []
    tags = sorted([*tags, *more])
    after = 8 + 2 + 12 * len(tags) + 4
    beside, entries = b"", b""
    for tag, kind, values in tags:
        values = [after] if tag == 273 else values  # the pixels come first, then long values
        content = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(content) > 4:
            at = after + len(data) + len(data) % 2 + len(beside)
            beside += content + b"\0" * (len(content) % 2)
            content = struct.pack(f"{order}I", at)
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + b"\0\0\0\0" + data + b"\0" * (len(data) % 2) + beside


def over_white(colours, alpha):
    """``(H, W, 3)`` levels of 255 and ``(H, W)`` opacities in [0, 1] as a viewer shows them."""
    return alpha[..., None] * colours + (1 - alpha[..., None]) * 255


def shown_png(samples, depth, kind, *, palette=None, transparent=None):
    """The picture in a PNG file, by the words of its standard, in floating point."""
    full = 2**depth - 1
    levels = samples.astype(float) / full * 255
    alpha = np.ones(samples.shape[:2])
    if kind == 3:
        colours = palette[samples[..., 0]].astype(float)
        opacity = np.full(256, 255)
        if transparent is not None:
            opacity[: len(transparent)] = list(transparent)
        return over_white(colours, opacity[samples[..., 0]] / 255)
    if kind in (4, 6):
        alpha = samples[..., -1] / full
        levels = levels[..., :-1]
    elif transparent is not None:
        key = struct.unpack(f">{samples.shape[2]}H", transparent)
        alpha = 1.0 - (samples == np.array(key)).all(-1)
    colours = levels if kind in (2, 6) else np.repeat(levels, 3, -1)
    return over_white(colours, alpha)
