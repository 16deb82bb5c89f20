"""What each part of the video model is worth: the forecast without it, on generated patients and real 4D CT.

    python benchmarks/ablation.py [CASE[@SPACING] ...] [--phantoms 4] [--observe 2,3,5,7,9]

Every variant gets the same registrations; one is told the waveform, the first mode of the whole cycle's registration,
as a breathing trace would tell it. Mean absolute error (HU) over the moving body, mean over the future phases;
on generated patients (4 mm, seeds from 900,000, on which nothing was trained) the landmark error too (mm), and how
many per cent of the true displacements in the lung lie within the stated 80 % interval. On real cases the displacement
of the registration of the whole cycle stands for the truth in that interval.
"""

import argparse
import csv
import datetime
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from forecast_table import load

from rtmotion.cycle.appearance import AppearanceConfig
from rtmotion.cycle.forecaster import FieldForecaster, MotionModelForecaster
from rtmotion.cycle.observed import observe_motion
from rtmotion.cycle.temporal import temporal_model
from rtmotion.evaluation.calibration import radius_factor
from rtmotion.evaluation.regions import lung_mask, moving_body_mask
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast
from rtmotion.registration import SvfRegistration, register_sequence, remembered_registrations
from rtmotion.sequence import PhaseSequence
from rtmotion.video.refinement import NetworkRefinement
from rtmotion_baselines.motion_models.bounds import first_mode_trace
from rtmotion_data.phantom import PhantomConfig, make_phantom

PHANTOM = PhantomConfig(size=(88, 72, 72), spacing=(4.0, 4.0, 4.0))
FIRST_SEED = 900_000
TOLD = "told the waveform"


def variants() -> dict[str, FieldForecaster]:
    """The forecasters by what they lack."""
    base = MotionModelForecaster()
    full = replace(base, refinement=NetworkRefinement())
    cyclic = temporal_model("cyclic-gp")
    return {
        "video": full,
        TOLD: full,
        "without adaptation": replace(full, refinement=NetworkRefinement(adapt=False)),
        "without network": base,
        "without waveform posterior": replace(full, temporal=cyclic),
        "without nearest-phase appearance": replace(full, appearance=AppearanceConfig(sources=1)),
        "without density": replace(full, appearance=AppearanceConfig(density=False)),
        "without both of these": replace(full, appearance=AppearanceConfig(sources=1, density=False)),
    }


def scores(forecast: Forecast, sequence: PhaseSequence, fields: Sequence[DisplacementField]) -> dict[str, float]:
    """The scores of a forecast against the whole cycle; `fields` are the true ones, one a phase."""
    mask = moving_body_mask(sequence)
    first = sequence.phases[0].label
    errors: dict[str, list[float]] = {"mae_hu": [], "tre_mm": [], "coverage_80": []}
    assert forecast.displacements is not None
    for j, phase in enumerate(forecast.targets):
        place = sequence.labels.index(phase.label)
        predicted = forecast.displacements[j]
        errors["mae_hu"].append(float((forecast.volumes[j].hu - sequence.volumes[place].hu).abs()[mask].mean()))
        if phase.label in sequence.landmarks:
            here, there = sequence.landmarks[phase.label].float(), sequence.landmarks[first].float()
            errors["tre_mm"].append(float((predicted.transform_points(here) - there).norm(dim=1).mean()))
        if forecast.uncertainty is not None:
            lung = lung_mask(sequence.volumes[place])
            off = (predicted.data - fields[place].data).norm(dim=0)[lung]
            inside = off <= radius_factor(80) * forecast.uncertainty[j][lung]
            errors["coverage_80"].append(100 * float(inside.float().mean()))
    return {name: float(np.mean(values)) for name, values in errors.items() if values}


def main() -> None:
    """Prints a table a group of cases and writes every number beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--phantoms", type=int, default=4)
    parser.add_argument("--observe", default="2,3,5,7,9")
    options = parser.parse_args()
    ks = [int(k) for k in options.observe.split(",")]
    lines: list[list[object]] = []
    names = [str(FIRST_SEED + n) for n in range(options.phantoms)] + options.cases
    for name in names:
        with remembered_registrations():
            if name.isdecimal():
                patient = make_phantom(int(name), PHANTOM)
                sequence, fields = patient.sequence, list(patient.displacements)
            else:
                sequence = load(name)
                fields = [r.displacement for r in register_sequence(SvfRegistration(), sequence)]
            trace = first_mode_trace(observe_motion(sequence, SvfRegistration(), 0), sequence)
            group = "generated" if name.isdecimal() else Path(name.partition("@")[0]).name
            for k in ks:
                observed, truth = sequence.observe(k)
                for variant, forecaster in variants().items():
                    told = trace if variant == TOLD else None
                    found = scores(forecaster.forecast(observed, truth.phases, told), sequence, fields)
                    case = name.rpartition("/")[2]
                    lines += [[group, case, variant, k, m, f"{v:.3f}"] for m, v in found.items()]
                    print(case, f"k={k}", variant, {m: round(v, 2) for m, v in found.items()}, flush=True)
    for group in dict.fromkeys(line[0] for line in lines):
        for metric in dict.fromkeys(line[4] for line in lines if line[0] == group):
            print(f"\n{group}: {metric}\n{'':34s}" + "".join(f"    k={k}" for k in ks))
            for variant in variants():
                cells = []
                for k in ks:
                    wanted = (group, variant, k, metric)
                    cells.append(np.mean([float(str(v)) for g, _, w, n, m, v in lines if (g, w, n, m) == wanted]))
                print(f"{variant:34s}" + "".join(f"{cell:7.2f}" for cell in cells))
    out = Path(__file__).parent / "results" / f"{datetime.date.today()}_ablation.csv"
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["group", "case", "variant", "observe", "metric", "value", "torch", "machine"])
        writer.writerows([[*line, torch.__version__, platform.machine()] for line in lines])


if __name__ == "__main__":
    main()
