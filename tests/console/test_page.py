"""The page's files: small, complete, and nothing that the doors would refuse."""

import re
from itertools import combinations

from tests.console.worlds import World
from twin.console.app import PAGE

TEXTS = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
STYLE = TEXTS["style.css"]


def test_all_that_it_loads_is_there(world: World):
    wanted = {f"/page/{name}" for text in TEXTS.values() for name in re.findall(r'from "\./([\w.]+)"', text)}
    wanted |= {path for text in TEXTS.values() for path in re.findall(r'(?:src|href)="(/[^"]*)"', text)}
    assert "/page/app.js" in wanted
    for path in wanted:
        answer = world.client.get(path)
        assert answer.status_code == 200, path
    assert world.client.get("/page/app.js").headers["content-type"].startswith("text/javascript")
    assert world.client.get("/page/../app.py").status_code == 404


def test_nothing_is_inline_and_nothing_comes_from_elsewhere():
    for name, text in TEXTS.items():
        assert not re.search(r"<style|\son\w+=|style=\"|<script(?![^>]*\ssrc=)|javascript:", text), name
        foreign = [url for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) if "www.w3.org" not in url]
        assert foreign == [], name
        assert "innerHTML" not in text, name


def test_every_element_that_the_modules_ask_for_is_in_the_page():
    page = TEXTS["index.html"]
    ids = set(re.findall(r'\bid="([\w-]+)"', page))
    values = set(re.findall(r'data-value="([\w-]+)"', page))
    for name, text in TEXTS.items():
        if name.endswith(".js"):
            assert set(re.findall(r'(?:\$|getElementById)\("([\w-]+)"\)', text)) <= ids, name
    assert set(re.findall(r'\bset\("([\w-]+)"', TEXTS["figures.js"])) <= values


def test_it_is_small():
    assert sum(len(text.encode()) for text in TEXTS.values()) < 100_000
    assert all(len(text.splitlines()) <= 500 for text in TEXTS.values())


def colours(theme: str) -> dict[str, str]:
    dark, light = re.findall(r"(?s)color-scheme: (?:dark|light);(.*?)}", STYLE)
    names = dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", dark))
    return names if theme == "dark" else names | dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", light))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_read_and_shapes_can_be_seen():
    for theme in ("dark", "light"):
        named = colours(theme)
        for ground in ("bg", "panel"):
            for text in ("text", "muted", "accent", "truth", "run"):
                assert contrast(named[text], named[ground]) >= 4.5, (theme, text, ground)
            assert contrast(named["edge"], named[ground]) >= 3, (theme, ground)
        for shape in ("medium", "high", "critical"):
            assert contrast(named["digit"], named[shape]) >= 4.5
            assert contrast(named[shape], named["well"]) >= 3  # the floor lies on the well in both themes
    for one, other in combinations(("medium", "high", "critical"), 2):
        assert colours("dark")[one] != colours("dark")[other]


def test_the_colours_of_priorities_are_those_of_the_style():
    in_module = dict(re.findall(r"([123]): \"(#[0-9A-F]{6})\"", TEXTS["shapes.js"]))
    named = colours("dark")
    assert in_module == {"1": named["critical"], "2": named["high"], "3": named["medium"]}
