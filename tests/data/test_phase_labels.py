"""Phase labels: the 138 public series by hand, the dialects, and texts that only look like phases."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmotion.sequence import Phase
from rtmotion_data.phase_labels import (
    AllPhases,
    NoPhase,
    SeriesFacts,
    SinglePhase,
    Verdict,
    classify_series,
    classify_study,
    missing_phases,
)
from rtmotion_data.phase_text import percent_of_amplitude

# The truth of the public series, decided by reading the table, by collection, patient and series number: the
# percentage of the cycle, or a word of the reason that it is none.
RIDER: dict[tuple[str, int], int | str] = {
    ("RIDER-1228863832", 102): "cine",
    **{("RIDER-1228863832", 500 + i): 10 * i for i in range(10)},
    ("RIDER-2515898203", 3): "nothing",
    ("RIDER-2515898203", 4): "nothing",
    **{("RIDER-2515898203", 660 + i): p for i, p in enumerate((0, 16, 33, 50, 66, 83))},
}
VENTILATION = {3: "nothing", 5: "breath-hold", 7: "breath-hold", 8: "all phases"}
LCTSC_EXHALE = (
    *(f"LCTSC-Test-S1-{n}" for n in (102, 103, 104, 201, 202, 203, 204)),
    *(f"LCTSC-Train-S1-{n}" for n in ("001", "002", "003")),
)


def truth(row: dict[str, str]) -> int | str:
    number = int(row["SeriesNumber"]) if row["SeriesNumber"] else None
    patient = row["PatientID"]
    if row["collection_id"] == "4d_lung":
        assert number is not None
        return 10 * (number - 500)
    if row["collection_id"] == "rider_lung_pet_ct":
        assert number is not None
        return RIDER[patient, number]
    if row["collection_id"] == "ct_vs_pet_ventilation_imaging":
        assert number is not None
        return VENTILATION[number]
    assert row["collection_id"] == "lctsc"
    if patient in LCTSC_EXHALE:
        return 25  # 50 % Ex: half way from end-inhale to end-exhale
    return "projection" if number == 211 else "nothing"


def judged(verdict: Verdict) -> tuple[float | str, str]:
    if isinstance(verdict, SinglePhase):
        return round(100 * verdict.phase.fraction, 6), verdict.evidence
    if isinstance(verdict, AllPhases):
        return "all phases", verdict.evidence
    return "none", verdict.reason


@pytest.mark.data
def test_every_public_series_is_classified_right(real_data: Path) -> None:
    with (real_data / "public_ct_series_metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    studies: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        studies[row["StudyInstanceUID"]].append(row)
    wrong = []
    kinds: Counter[str] = Counter()
    for study in studies.values():
        facts = [
            SeriesFacts(
                description=row["SeriesDescription"],
                manufacturer=row["Manufacturer"],
                series_number=int(row["SeriesNumber"]) if row["SeriesNumber"] else None,
                instances=int(row["instanceCount"]),
            )
            for row in study
        ]
        for row, verdict in zip(study, classify_study(facts), strict=True):
            expected = truth(row)
            got, why = judged(verdict)
            kinds[expected if isinstance(expected, str) else "phase"] += 1
            right = got == expected if expected == "all phases" or not isinstance(expected, str) else expected in why
            if isinstance(expected, str) and expected != "all phases":
                right = right and got == "none"
            if not right:
                wrong.append((row["SeriesDescription"], expected, got, why))
    assert not wrong
    assert kinds == {"phase": 106, "all phases": 3, "projection": 7, "breath-hold": 6, "cine": 1, "nothing": 15}


SINGLE = [
    ("T=0%,PR=94% -> 5%,AR(cm)=-2.41 -> -2.28  70CM FOV 3.27MM CT STD", 0.0),
    ("T=83%,PR=79% -> 90%,AR(cm)=-3.37 -> -2.94  4D CT", 0.83),
    ("P4^P100^S102^I0, Gated, 10.0%", 0.1),
    ("P4^P100^S300^I10361, Gated, 0.0%A", 0.0),
    ("Gated, 33.3%", 0.333),
    ("Thorax 4D 30%", 0.3),
    ("4DCT_phase_000", 0.0),
    ("4DCT_phase_050", 0.5),
    ("Phase 30%", 0.3),
    ("RESP 4D phase 70", 0.7),
    ("0.0%", 0.0),
    ("90%", 0.9),
    ("CT 0 % Ex", 0.5),
    ("CT 100 % In", 0.0),
    ("Thorax 20 % In", 0.6),
    ("CT114545:RespCT  3.0  B30f  50% Ex", 0.25),
    ("4D CT ASIR 40% T=20%", 0.2),
    ("4D 60% iDose 40", 0.6),
    ("100% 4DCT", 0.0),
]


@pytest.mark.parametrize(("description", "fraction"), SINGLE)
def test_a_phase_is_found_in_the_description(description: str, fraction: float) -> None:
    verdict = classify_series(SeriesFacts(description))
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase.fraction == pytest.approx(fraction)
    assert " ".join(description.split()) in verdict.evidence


NONE = [
    ("Ave-IP(10) 0%_10%_20%_30%_40%_50%_60%_70%_80%_90%", "projection"),
    ("4D MIP", "projection"),
    ("MIP 0-90%", "projection"),
    ("AVG 4D 0-100%", "projection"),
    ("MinIP", "projection"),
    ("Average CT", "projection"),
    ("4D AIP 50%", "projection"),
    ("MidP 4D", "mid-position"),
    ("CTAC 3.75 thick", "attenuation"),
    ("AC CT 4D 30%", "attenuation"),
    ("Topogram  0.6  T20f", "scout"),
    ("Scout", "scout"),
    ("Dose Report", "report"),
    ("CorCTA 0.75 70 % BestDiast", "cardiac"),
    ("70 % BestSyst", "cardiac"),
    ("CT 75% R-R", "cardiac"),
    ("Liver arterial phase 35%", "contrast"),
    ("4D 30% coronal", "reformat"),
    ("Thorax Insp  2.0  B70f", "breath-hold"),
    ("DIBH", "breath-hold"),
    ("THORAX SS50", "nothing"),
    ("CT Chest ASIR 40%", "nothing"),
    ("CT CHEST ASiR-V 50%", "nothing"),
    ("iDose 30% lung", "nothing"),
    ("Recon 2: WB CT", "nothing"),
    ("", "nothing"),
    ("CT Thorax 30%", "alone"),
    ("Spine T10", "alone"),
    ("T50", "alone"),
]


@pytest.mark.parametrize(("description", "word"), NONE)
def test_what_is_no_phase_is_set_aside_with_its_reason(description: str, word: str) -> None:
    verdict = classify_series(SeriesFacts(description))
    assert isinstance(verdict, NoPhase)
    assert word in verdict.reason


@pytest.mark.parametrize(
    ("description", "first", "last", "amplitude"),
    [("RespLow  2.0  B30s  80 % Ex - 100 % In", 10, 0, True), ("4D CT 0%-90%", 0, 90, False)],
)
def test_a_series_that_announces_all_phases(description: str, first: float, last: float, amplitude: bool) -> None:
    verdict = classify_series(SeriesFacts(description))
    assert isinstance(verdict, AllPhases)
    assert verdict.percents == (first, last)
    assert verdict.amplitude is amplitude


def test_amplitude_labels_run_from_end_inhale_through_end_exhale_and_back() -> None:
    order = [(100, "In"), *((a, "Ex") for a in (80, 60, 40, 20, 0)), *((a, "In") for a in (20, 40, 60, 80))]
    assert [percent_of_amplitude(a, d) for a, d in order] == pytest.approx(range(0, 100, 10))


def test_amplitude_labels_say_so_and_are_trusted_less() -> None:
    nominal, plain = classify_series(SeriesFacts("4D 50 % Ex")), classify_series(SeriesFacts("4D 50 %"))
    assert isinstance(nominal, SinglePhase)
    assert isinstance(plain, SinglePhase)
    assert "amplitude" in nominal.evidence
    assert nominal.amplitude
    assert nominal.confidence < plain.confidence


@pytest.mark.parametrize("pattern", ["CT Thorax {}%", "T{:02d}", "recon {} %"])
def test_a_family_makes_weak_labels_believable(pattern: str) -> None:
    verdicts = classify_study([SeriesFacts(pattern.format(p)) for p in range(0, 100, 10)])
    assert [v.phase.percent for v in verdicts if isinstance(v, SinglePhase)] == list(range(0, 100, 10))
    two = classify_study([SeriesFacts(pattern.format(p)) for p in (20, 30)])
    assert all(isinstance(v, NoPhase) for v in two)


def test_a_family_raises_the_confidence() -> None:
    alone = classify_series(SeriesFacts("Thorax 4D 30%"))
    together = classify_study([SeriesFacts(f"Thorax 4D {p}%") for p in (0, 30, 60)])[1]
    assert isinstance(alone, SinglePhase)
    assert isinstance(together, SinglePhase)
    assert alone.confidence < together.confidence < 1


@pytest.mark.parametrize("pattern", ["{:02d}", "Phase_{}", "gated_{}%", "phase_{:03d}", "T{:02d}"])
def test_folder_names_speak_where_headers_are_silent(pattern: str) -> None:
    verdicts = classify_study([SeriesFacts(folder=pattern.format(p)) for p in range(0, 100, 10)])
    assert [v.phase.percent for v in verdicts if isinstance(v, SinglePhase)] == list(range(0, 100, 10))
    assert all("folder" in v.evidence for v in verdicts if isinstance(v, SinglePhase))


def test_a_folder_number_alone_is_no_phase() -> None:
    assert isinstance(classify_series(SeriesFacts("Abdomen", folder="30")), NoPhase)


def test_the_respiratory_tag_wins_and_disagreement_is_named() -> None:
    verdict = classify_series(SeriesFacts("Thorax 4D 30%", respiratory_percent=50.0))
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase == Phase(0.5)
    assert "(0020,9245)" in verdict.evidence
    assert len(verdict.warnings) == 1
    assert "30%" in verdict.warnings[0]


@pytest.mark.parametrize(("state", "fraction"), [("MAXIMUM", 0.0), ("MINIMUM", 0.5)])
def test_respiratory_states_at_the_extremes(state: str, fraction: float) -> None:
    verdict = classify_series(SeriesFacts(respiratory_states=(state, state)))
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase.fraction == fraction


@pytest.mark.parametrize(
    ("state", "amplitudes", "fraction"),
    [("INSPIRATION", (15.0, 25.0), 0.6), ("EXPIRATION", (90.0, 70.0), 0.1), ("EXPIRATION", (0.0, 0.0), 0.5)],
)
def test_respiratory_states_with_their_amplitudes(state: str, amplitudes: tuple[float, float], fraction: float) -> None:
    facts = SeriesFacts(respiratory_states=(state, state), respiratory_amplitudes=amplitudes)
    verdict = classify_series(facts)
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase.fraction == pytest.approx(fraction)
    assert verdict.amplitude
    assert isinstance(classify_series(SeriesFacts(respiratory_states=(state, state))), NoPhase)


def test_temporal_positions_are_the_last_resort() -> None:
    verdict = classify_series(SeriesFacts("CT Lung", temporal_position=4, temporal_positions=10))
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase == Phase(0.3)
    assert verdict.confidence <= 0.5
    labelled = classify_series(SeriesFacts("T=50%", temporal_position=1, temporal_positions=10))
    assert isinstance(labelled, SinglePhase)
    assert labelled.phase == Phase(0.5)


def test_comments_are_quoted_by_their_phase_only() -> None:
    verdict = classify_series(SeriesFacts("CT Lung", comments="Jane Doe, seen 1.2.; gated 40%, coughed"))
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase == Phase(0.4)
    assert "Doe" not in verdict.evidence
    assert "gated 40%" in verdict.evidence


def test_free_text_in_comments_does_not_make_an_image_a_projection() -> None:
    verdict = classify_series(SeriesFacts("Thorax 4D 30%", comments="delayed, mean of the patient's coronary history"))
    assert isinstance(verdict, SinglePhase)


@pytest.mark.parametrize(
    ("image_type", "word"),
    [(("ORIGINAL", "PRIMARY", "LOCALIZER"), "scout"), (("DERIVED", "SECONDARY", "MIP"), "projection")],
)
def test_image_type_outweighs_a_phase_in_the_description(image_type: tuple[str, ...], word: str) -> None:
    verdict = classify_series(SeriesFacts("Thorax 4D 30%", image_type=image_type))
    assert isinstance(verdict, NoPhase)
    assert word in verdict.reason


@given(st.integers(0, 99), st.sampled_from(["T={}%", "x, Gated, {}.0%", "Phase {}%", "Lung 4D {} %", "{}%", "T {}%"]))
def test_every_percentage_in_every_dialect(percent: int, pattern: str) -> None:
    verdict = classify_series(SeriesFacts(pattern.format(percent)))
    assert isinstance(verdict, SinglePhase)
    assert verdict.phase == Phase.of_percent(percent)


@given(st.text(max_size=64), st.text(max_size=64), st.text(max_size=20))
def test_any_text_gets_a_verdict(description: str, comments: str, folder: str) -> None:
    verdict = classify_series(SeriesFacts(description, comments, folder=folder))
    assert isinstance(verdict, (SinglePhase, AllPhases, NoPhase))
    if isinstance(verdict, SinglePhase):
        assert 0 <= verdict.phase.fraction < 1
        assert 0 < verdict.confidence <= 1


@pytest.mark.parametrize(
    ("present", "absent"),
    [
        (range(0, 100, 10), []),
        ((0, 10, 20, 40, 50, 60, 70, 80, 90), ["T30"]),
        ((0, 10, 20, 30, 40, 50, 60, 70), ["T80", "T90"]),
        ((0, 16, 33, 50, 66, 83), []),
        ((0, 16, 33, 66, 83), ["T50"]),
        ((0, 20, 40, 60, 80), []),
        ((0, 50), []),
        ((0, 10, 30), []),
    ],
)
def test_missing_phases(present: list[int], absent: list[str]) -> None:
    labels = [p.label for p in missing_phases([Phase.of_percent(p) for p in present])]
    assert labels == absent
