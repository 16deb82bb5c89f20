"""The synthetic patient: its fields, landmarks, masks and pictures agree with each other."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rtmotion.errors import RtmotionError, UnknownNameError
from rtmotion.field import compose, jacobian_determinant
from rtmotion.interop import field_to_sitk, volume_to_sitk
from rtmotion_data.phantom import LABELS, Phantom, PhantomConfig, make_phantom, make_tensors, phantom_stream
from rtmotion_data.writers.phantom import write_phantom

CONFIG = PhantomConfig(size=(88, 80, 64), spacing=(4.0, 4.0, 4.0), diaphragm_range=(10.0, 20.0), phases=5)
SMALL = PhantomConfig(size=(24, 24, 20), spacing=(12.0, 12.0, 12.0), phases=3)

LANDMARK_TOLERANCE = 0.02
"""mm; the field is read between voxels, where it bends a little."""

WARP_TOLERANCE = 15.0
"""HU, mean over the lung: interpolating thin vessels twice at 4 mm costs this much, no motion less than this."""


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(11, CONFIG)


def test_the_field_warps_the_first_phase_into_every_other(phantom: Phantom) -> None:
    first = phantom.clean.volumes[0].hu
    mass = 0
    for j in range(1, len(phantom.clean)):
        target = phantom.clean.volumes[j].hu
        lung = phantom.clean.masks["lung"][f"T{20 * j}"]
        core = F.avg_pool3d(lung.float()[None, None], 3, 1, 1)[0, 0] > 0.99
        field = phantom.displacements[j]
        # the map goes from phase j to the first: where it widens, the lung of phase j is denser than the first
        ratio = jacobian_determinant(field.data, field.grid)
        warped = field.warp(first)
        corrected = (warped + 1000) * ratio - 1000
        core &= (warped < -600) & (target < -600)  # vessels do not thin out
        error = float((corrected - target)[core].abs().mean())
        assert error < WARP_TOLERANCE
        # what the vessels hold does not thin out, so the correction by the Jacobian alone goes a little too far
        bias, uncorrected = ((image - target)[core].mean().abs() for image in (corrected, warped))
        assert float(bias) < 0.9 * float(uncorrected)
        assert error < 0.6 * float((first - target)[core].abs().mean())
        mass += int(core.sum())
    assert mass > 20_000


def test_the_lung_gets_denser_towards_exhale_and_keeps_its_mass(phantom: Phantom) -> None:
    depth = [s["diaphragm"] for s in phantom.parameters["states"]]
    inhale, exhale = int(np.argmax(depth)), int(np.argmin(depth))

    def density(j: int) -> tuple[float, float]:
        lung = phantom.clean.masks["lung"][phantom.clean.labels[j]]
        values = phantom.clean.volumes[j].hu[lung] + 1000
        return float(values.mean()), float(values.sum())

    (thin, mass_in), (dense, mass_out) = density(inhale), density(exhale)
    assert dense > thin + 5
    assert mass_in == pytest.approx(mass_out, rel=0.04)


def test_fields_and_inverses_compose_to_the_identity(phantom: Phantom) -> None:
    grid = phantom.clean.grid
    for forth, back in zip(phantom.displacements, phantom.inverses, strict=True):
        body = phantom.clean.masks["body"]["T00"]
        around = compose(back.data, forth.data, grid).norm(dim=0)
        inside = F.avg_pool3d(body.float()[None, None], 7, 1, 3)[0, 0] > 0.99
        # interpolation across the sliding pleura and outside the grid is no inverse: the median is free of both
        assert float(around[inside].median()) < 0.02
        assert float(around[inside].quantile(0.9)) < 0.25
    assert float(phantom.displacements[0].magnitude.max()) == 0


def test_landmarks_follow_the_exact_field(phantom: Phantom) -> None:
    marks = phantom.clean.landmarks
    assert len(marks["T00"]) >= 100
    sides = marks["T00"][:, 0] > 0
    assert 0.2 < float(sides.float().mean()) < 0.8
    for j, label in enumerate(phantom.clean.labels):
        moved = phantom.displacements[j].transform_points(marks[label])
        errors = (moved - marks["T00"]).norm(dim=1)
        assert float(errors.median()) < LANDMARK_TOLERANCE
        back = phantom.inverses[j].transform_points(marks["T00"])
        assert float((back - marks[label]).norm(dim=1).median()) < LANDMARK_TOLERANCE
    assert float((marks["T40"] - marks["T00"]).norm(dim=1).max()) > 2


def test_landmarks_stay_on_their_structure(phantom: Phantom) -> None:
    grid = phantom.clean.grid
    seen = []
    for j, label in enumerate(phantom.clean.labels):
        index = grid.world_to_index(phantom.clean.landmarks[label]).round().long()
        seen.append(phantom.labels[j][index[:, 2], index[:, 1], index[:, 0]])
    lung = torch.tensor([LABELS["lung_left"], LABELS["lung_right"]])
    assert torch.isin(seen[0], lung).float().mean() > 0.98
    for other in seen[1:]:
        assert (other == seen[0]).float().mean() > 0.98


def test_landmarks_stand_on_vessels(phantom: Phantom) -> None:
    for label in phantom.clean.labels:
        volume = phantom.clean.volume(label)
        index = volume.grid.world_to_index(phantom.clean.landmarks[label]).round().long()
        here = volume.hu[index[:, 2], index[:, 1], index[:, 0]]
        lung = volume.hu[phantom.clean.masks["lung"][label]]
        assert float(here.mean()) > float(lung.mean()) + 50


def test_sitk_resamples_the_first_phase_into_the_others(phantom: Phantom) -> None:
    import SimpleITK as sitk  # noqa: N813

    first, field = phantom.clean.volumes[0], phantom.displacements[2]
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(field), sitk.sitkVectorFloat64))
    moved = sitk.GetArrayFromImage(sitk.Resample(volume_to_sitk(first), volume_to_sitk(first), transform))
    ours = field.warp(first.hu).numpy()
    inner = (slice(6, -6),) * 3
    assert np.abs(moved[inner] - ours[inner]).max() < 2  # int16 against float


def test_inner_organs_slide_along_a_chest_wall_that_stays(phantom: Phantom) -> None:
    u = phantom.inverses[2]
    bones = phantom.clean.masks["bones"]["T00"]
    lung = phantom.clean.masks["lung"]["T00"]
    liver = phantom.clean.masks["liver"]["T00"]
    craniocaudal = u.data[2]
    # φ tilts the chest wall's anteroposterior motion a little
    assert float(craniocaudal[bones].abs().quantile(0.95)) < 1.0
    assert float(craniocaudal[liver].median()) > 4.0
    # beside the liver and the lower lung the ribs are within 3 voxels: the jump is between neighbours
    jump = craniocaudal.diff(dim=2).abs()
    assert float(jump[(lung | liver)[:, :, 1:]].max()) > 5.0


def test_nothing_folds_away_from_the_sliding_wall(phantom: Phantom) -> None:
    lung = phantom.clean.masks["lung"]["T40"]
    core = F.avg_pool3d(lung.float()[None, None], 5, 1, 2)[0, 0] > 0.99
    field = phantom.displacements[2]
    assert float(field.jacobian_determinant()[core].min()) > 0.4


def test_artefacts_and_noise_are_in_the_rendered_input_alone() -> None:
    config = dataclasses.replace(CONFIG, noise=False, sorting_artefacts=False, phases=2, size=(40, 40, 32))
    quiet, loud = (
        make_tensors(5, config),
        make_tensors(5, dataclasses.replace(config, noise=True, sorting_artefacts=True)),
    )
    assert torch.equal(quiet.rendered, quiet.clean)
    assert torch.equal(quiet.clean, loud.clean)
    assert torch.equal(quiet.displacements, loud.displacements)
    sorted_wrong = make_tensors(5, dataclasses.replace(config, sorting_artefacts=True))
    difference = (sorted_wrong.rendered - sorted_wrong.clean).abs()
    assert float(difference.max()) > 100
    noise = (loud.rendered - sorted_wrong.rendered)[:, 10:22, 15:25, 15:25].std()
    assert 0.3 * 15 < float(noise) < 2 * 60
    blurred = make_tensors(5, dataclasses.replace(config, motion_blur=0.2))
    assert not torch.equal(blurred.rendered, blurred.clean)


def test_the_same_seed_gives_the_same_patient() -> None:
    one, two, other = make_tensors(7, SMALL), make_tensors(7, SMALL), make_tensors(8, SMALL)
    for name in ("rendered", "clean", "labels", "displacements", "inverses", "landmarks"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert one.parameters == two.parameters
    assert np.array_equal(one.trace.amplitude, two.trace.amplitude)
    assert not torch.equal(one.clean, other.clean)
    assert one.parameters["motion"] != other.parameters["motion"]


def test_parameters_survive_json(phantom: Phantom) -> None:
    assert json.loads(json.dumps(phantom.parameters)) == phantom.parameters
    assert phantom.parameters["seed"] == 11
    low, high = CONFIG.diaphragm_range
    assert low <= phantom.parameters["motion"]["diaphragm"] <= high


def test_waveforms_can_be_given() -> None:
    flat = np.tile(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(10) / 10), (3, 1))
    given = make_tensors(2, SMALL, waveforms=flat)
    assert given.parameters["waveform"]["source"] == "recorded"
    with pytest.raises(RtmotionError, match="waveforms"):
        make_tensors(2, SMALL, waveforms=np.zeros((2, 3)))


def test_a_stream_makes_one_patient_a_seed() -> None:
    patients = list(phantom_stream([1, 2], SMALL))
    assert [p.parameters["seed"] for p in patients] == [1, 2]
    assert patients[0].rendered.shape == (3, 20, 24, 24)


@pytest.mark.parametrize(
    "options",
    [
        {"size": (4, 64, 64)},
        {"spacing": (0.0, 1.0, 1.0)},
        {"phases": 1},
        {"chest_range": (8.0, 1.0)},
        {"motion_blur": 0.7},
    ],
)
def test_what_makes_no_patient_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(RtmotionError, match="got"):
        PhantomConfig(**options)  # type: ignore[arg-type]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(RtmotionError, match="seed"):
        make_tensors(-1, SMALL)


def test_masks_partition_the_body(phantom: Phantom) -> None:
    masks = {name: by["T00"] for name, by in phantom.clean.masks.items()}
    assert torch.equal(masks["lung"], masks["lung_left"] | masks["lung_right"])
    assert not (masks["lung_left"] & masks["lung_right"]).any()
    for name in ("lung", "heart", "liver", "bones"):
        assert 0.003 < float((masks[name] & masks["body"]).float().sum() / masks["body"].float().sum()) < 0.6
        assert not (masks[name] & ~masks["body"]).any()
    hu = phantom.clean.volumes[0].hu
    assert -900 < float(hu[masks["lung"]].median()) < -650
    assert float(hu[masks["bones"]].median()) > 150
    assert 20 < float(hu[masks["liver"]].median()) < 160


def test_the_folder_has_what_the_contract_names(tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    phantom = make_phantom(3, SMALL)
    path = write_phantom(tmp_path / "patient", phantom)
    folder = path.parent
    described = json.loads(path.read_text(encoding="utf-8"))
    assert described["schema"] == "rtmotion.phantom/1"
    assert described["seed"] == 3
    assert described["parameters"] == phantom.parameters
    for name in ("00", "33", "67"):
        for file in (f"phase_{name}.nii.gz", f"clean/phase_{name}.nii.gz", f"labels_{name}.nii.gz", f"dvf_{name}.mha"):
            assert (folder / file).is_file()
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "clean" / "phase_33.nii.gz")))
    assert np.array_equal(stored, phantom.clean.volumes[1].data.numpy())
    field = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "dvf_67.mha")))
    assert np.array_equal(np.moveaxis(field, -1, 0), phantom.displacements[2].data.numpy())
    with (folder / "landmarks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["phase"] for row in rows} <= {"0", "33", "67"}
    assert len(rows) == 3 * len(phantom.sequence.landmarks["T00"])
    with (folder / "trace.csv").open() as stream:
        trace = list(csv.DictReader(stream))
    assert all(0 <= float(row["phase"]) < 1 for row in trace)
    assert len(trace) == len(phantom.trace.time)


def test_the_phases_can_be_dicom(tmp_path: Path) -> None:
    phantom = make_phantom(3, SMALL)
    write_phantom(tmp_path / "patient", phantom, format="dicom")
    assert len(list((tmp_path / "patient" / "dicom").glob("*/*.dcm"))) == 3 * SMALL.size[2]
    with pytest.raises(UnknownNameError):
        write_phantom(tmp_path / "other", phantom, format="jpeg")


@pytest.mark.gpu
def test_a_gpu_makes_the_same_patient() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cpu, gpu = make_tensors(4, SMALL), make_tensors(4, SMALL, device="cuda")
    assert float((cpu.displacements - gpu.displacements.cpu()).abs().max()) < 0.01
    assert float((cpu.clean - gpu.clean.cpu()).abs().median()) < 0.1
