"""Draw the cards that people hold up to a camera: scenes of the demo's world, two on a page of A4, as PDF.

    python3 cards.py ../../models/demo/cards.pdf [--png FOLDER]

Needs pycairo and the DejaVu fonts. --png: each page as a picture as well. The drawing follows world.paint(): same colours,
same shapes, same places, upright and without a camera's faults.
"""
import argparse
import os

import cairo

import world

MM = 72 / 25.4
WIDTH, HEIGHT, SIDE, LEFT = 210 * MM, 297 * MM, 128 * MM, 41 * MM
TOPS = (10 * MM, 153 * MM)
# shape, colour, background, text, whether the text is above the shape
CARDS = [("circle", "red", "white", "apple", True), ("square", "blue", "white", "7", False),
         ("triangle", "green", "white", "tiger", False), ("star", "orange", "white", "3", True),
         ("cross", "purple", "white", "robot", True), ("ring", "yellow", "grey", "5", False),
         ("star", "red", "grey", "music", False), ("triangle", "yellow", "black", "8", True),
         ("ring", "blue", "white", "house", True), ("circle", "green", "white", "2", False),
         ("square", "orange", "white", "lemon", False), ("cross", "red", "white", "4", True)]


def fill(c, rgb):
    c.set_source_rgb(*(v / 255 for v in rgb))


def draw_shape(c, shape, x, y, r, colour, back):
    fill(c, colour)
    if shape in ("circle", "ring"):
        c.arc(x, y, r, 0, 6.2832)
        c.fill()
        if shape == "ring":
            fill(c, back)
            c.arc(x, y, 0.55 * r, 0, 6.2832)
            c.fill()
        return
    for px, py in world.polygon(shape, x, y, r, 0):
        c.line_to(px, py)
    c.close_path()
    c.fill()


def draw_text(c, text, x, y, size, width, weight=cairo.FONT_WEIGHT_BOLD):
    """Centred; smaller where it would be wider than width."""
    c.select_font_face("DejaVu Sans", cairo.FONT_SLANT_NORMAL, weight)
    c.set_font_size(size)
    w = c.text_extents(text).x_advance
    if w > width:
        c.set_font_size(size * width / w)
    box = c.text_extents(text)
    c.move_to(x - box.x_advance / 2, y - box.y_bearing - box.height / 2)
    c.show_text(text)


def draw_card(c, x, y, card):
    shape, colour, back, text, top = card
    c.save()
    c.translate(x, y)
    c.rectangle(0, 0, SIDE, SIDE)
    fill(c, world.BACKS[back])
    c.fill_preserve()
    c.set_source_rgb(0.6, 0.6, 0.6)                                            # where to cut a white card
    c.set_line_width(0.4)
    c.set_dash([4, 4])
    c.stroke()
    field = 1 - world.BAND
    draw_shape(c, shape, SIDE / 2, SIDE * (field / 2 + (world.BAND if top else 0)), 0.26 * SIDE, world.COLOURS[colour],
               world.BACKS[back])
    fill(c, {"black": (240, 240, 240), "white": (15, 15, 15), "grey": (250, 250, 250)}[back])
    digit = text.isdigit()
    draw_text(c, text.upper(), SIDE / 2, SIDE * (world.BAND / 2 if top else 1 - world.BAND / 2),
              SIDE * (0.36 if digit else 0.30) * 0.95, SIDE * 0.94 * 0.95)
    c.restore()
    read = f"Which digit is on the screen?  {text}" if digit else f"What word is written on the screen?  {text}"
    fill(c, (90, 90, 90))
    draw_text(c, f"What shape is shown?  {shape}      What colour is the shape?  {colour}", WIDTH / 2, y + SIDE + 4 * MM, 8.5,
              WIDTH - 20 * MM, cairo.FONT_WEIGHT_NORMAL)
    draw_text(c, f"{read}      What colour is the background?  {back}", WIDTH / 2, y + SIDE + 8 * MM, 8.5, WIDTH - 20 * MM,
              cairo.FONT_WEIGHT_NORMAL)


def draw_page(c, cards):
    c.set_source_rgb(1, 1, 1)
    c.paint()
    for y, card in zip(TOPS, cards):
        draw_card(c, LEFT, y, card)
    fill(c, (120, 120, 120))
    draw_text(c, "omnid demo: hold a card straight up so that it fills the picture from edge to edge, keep it there for some "
              "seconds, ask what stands below it.", WIDTH / 2, HEIGHT - 4 * MM, 7.5, WIDTH - 20 * MM, cairo.FONT_WEIGHT_NORMAL)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--png", default="", help="a folder for the pages as pictures of 150 dots an inch")
    a = p.parse_args()
    pages = [CARDS[i:i + 2] for i in range(0, len(CARDS), 2)]
    pdf = cairo.PDFSurface(a.out, WIDTH, HEIGHT)
    pdf.set_metadata(cairo.PDF_METADATA_TITLE, "Cards for omnid's demo model")
    pdf.set_metadata(cairo.PDF_METADATA_CREATE_DATE, "2026-01-01T00:00:00Z")   # the same file each time
    c = cairo.Context(pdf)
    for page in pages:
        draw_page(c, page)
        c.show_page()
    pdf.finish()
    for i, page in enumerate(pages if a.png else []):
        s = cairo.ImageSurface(cairo.FORMAT_RGB24, int(WIDTH * 150 / 72), int(HEIGHT * 150 / 72))
        c = cairo.Context(s)
        c.scale(150 / 72, 150 / 72)
        draw_page(c, page)
        s.write_to_png(os.path.join(a.png, f"cards-{i + 1}.png"))


if __name__ == "__main__":
    main()
