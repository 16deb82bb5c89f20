"""The pictures of a comparison: the same slice of the true phase and of every method's forecast, side by side."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtmotion.evaluation.cohort import result_folder
from rtmotion.report.comparison_tables import Links
from rtmotion.report.method_styles import first_observe, ordered_methods
from rtmotion.report.picture import Picture, load_picture

PICTURE_BUDGET = 4_000_000
"""Bytes of JPEG in a comparison's page; past it, only the first k of every case is shown, then only the first cases."""

Pictures = Mapping[tuple[str, int, str], Picture]
"""Case, k and method to the picture of that forecast."""


def find_pictures(
    folder: Path, summary: Mapping[str, Any], budget: int = PICTURE_BUDGET
) -> dict[tuple[str, int, str], Picture]:
    """The pictures that lie in a comparison's folder, as many as a page can hold.

    Args:
        folder: What `rtmotion compare` wrote.
        summary: What summary.json holds.
        budget: Bytes that they may take.
    """
    found = {}
    for score in summary["per_case"]:
        key = (str(score["case"]), int(score["observe"]), str(score["method"]))
        picture = load_picture(result_folder(folder, *key))
        if picture is not None:
            found[key] = picture
    if _size(found) > budget:
        first = first_observe([observe for _, observe, _ in found])
        found = {key: picture for key, picture in found.items() if key[1] == first}
    kept: dict[tuple[str, int, str], Picture] = {}
    for case in dict.fromkeys(case for case, _, _ in found):
        more = {key: picture for key, picture in found.items() if key[0] == case}
        if kept and _size({**kept, **more}) > budget:
            break
        kept |= more
    return kept


def gallery(summary: Mapping[str, Any], pictures: Pictures, links: Links) -> list[dict[str, Any]]:
    """What the page shows side by side: one entry a case and k.

    Returns:
        JSON-compatible: `case`, `k`, the facts of the slice, `truth` (JPEG, base64) and `shown`, one entry a method in
        the order in which methods are shown: `method`, `kind`, `error` (HU), `skill`, `link`, `image`.
    """
    kinds = {str(e["method"]): str(e["kind"]) for e in ordered_methods(summary["summary"])}
    scores = {(str(c["case"]), int(c["observe"]), str(c["method"])): c for c in summary["per_case"]}
    sets = []
    for case in map(str, summary["cases"]):
        for observe in summary["observe"]:
            shown = [(m, pictures[case, observe, m]) for m in kinds if (case, observe, m) in pictures]
            # what an older run left behind on another slice cannot stand beside the others
            truths = Counter(picture.truth for _, picture in shown)
            shown = [(m, picture) for m, picture in shown if picture.truth == truths.most_common(1)[0][0]]
            if shown:
                sets.append(
                    {
                        "case": case,
                        "k": observe,
                        **shown[0][1].facts,
                        "truth": _text(shown[0][1].truth),
                        "shown": [
                            {
                                "method": m,
                                "kind": kinds[m],
                                "error": scores[case, observe, m]["error"],
                                "skill": scores[case, observe, m]["skill"],
                                "link": links.get((case, observe, m)),
                                "image": _text(picture.prediction),
                            }
                            for m, picture in shown
                        ],
                    }
                )
    return sets


def missing_pictures(sets: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """A sentence where not every case and k has its pictures here."""
    wanted = len(summary["cases"]) * len(summary["observe"])
    if not sets or len(sets) >= wanted:
        return ""
    return f"{len(sets)} of {wanted} pairs of case and k are pictured here; the others are on the forecasts' own pages."


def _size(pictures: Pictures) -> int:
    return sum(len(p.prediction) for p in pictures.values())


def _text(image: bytes) -> str:
    return base64.b64encode(image).decode()
