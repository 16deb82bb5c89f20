"""Breathing traces: every format, what is dropped, which way is inhale, and the cycles."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from rtmotion.errors import PhaseError, ReadError
from rtmotion.sequence import BreathingTrace
from rtmotion_data.traces import cycles, read_recording, read_trace

Array = npt.NDArray[np.float64]
PERIOD = 4.0
RATE = 10.0


def breathing(seconds: float = 60.0, rate: float = RATE, period: float = PERIOD) -> tuple[Array, Array]:
    """Time in s, and amplitude in mm: cos⁴ as of Lujan, end-inhale at 0, dwelling at end-exhale."""
    time = np.arange(0, seconds, 1 / rate)
    return time, 10 * np.cos(np.pi * time / period) ** 4


def vxp(path: Path, time: Array, amplitude: Array, valid: Array | None = None, **header: str) -> Path:
    """A file as the RPM system exports it, amplitude in cm."""
    fields = {
        "CRC": "27051",
        "Version": "1.6",
        "Data_layout": "amplitude,phase,timestamp,validflag,ttlin,mark,ttlout",
        "Patient_ID": "00000",
        "Date": "01-01-2000",
        "Total_study_time": f"{time[-1]:.3f}",
        "Samples_per_second": "10",
        "Scale_factor": "10.0",
        **header,
    }
    phase = (2 * np.pi * time / PERIOD) % (2 * np.pi)
    valid = np.zeros(len(time)) if valid is None else valid
    lines = [
        f"{a / 10:.4f},{p:.4f},{round(1000 * t)},{int(v)},0,{'Z' if p < 0.05 else ''},0"
        for a, p, t, v in zip(amplitude, phase, time, valid, strict=True)
    ]
    text = "\r\n".join(["[Header]", *(f"{k}={v}" for k, v in fields.items()), "[Data]", *lines, ""])
    path.write_text(text, newline="")
    return path


def marker_csv(path: Path, time: Array, positions: Array) -> Path:
    """A file as the recordings of a 3D marker come: semicolons, decimal commas, ms."""
    rows = [
        f"{round(60 * t)};{round(1000 * t)};" + ";".join(f"{v:.1f}".replace(".", ",") for v in p)
        for t, p in zip(time, positions, strict=True)
    ]
    path.write_text("\r\n".join(['"Frame";"Timestamp";"x";"y";"z"', *rows, ""]), newline="")
    return path


# --- formats


def test_vxp(tmp_path: Path) -> None:
    time, amplitude = breathing()
    recording = read_recording(vxp(tmp_path / "a.vxp", time, amplitude))
    trace = recording.trace
    assert recording.warnings == ()
    assert np.allclose(trace.time, time)
    assert np.allclose(trace.amplitude, amplitude, atol=0.001)  # mm: Scale_factor was applied
    assert trace.phase is not None
    assert np.allclose(np.exp(2j * np.pi * trace.phase), np.exp(2j * np.pi * time / PERIOD), atol=1e-3)


def test_vxp_that_counts_downwards_is_turned(tmp_path: Path) -> None:
    time, amplitude = breathing()
    recording = read_recording(vxp(tmp_path / "a.vxp", time, -amplitude))
    assert any("its sign was turned" in w for w in recording.warnings)
    assert np.allclose(recording.trace.amplitude, amplitude, atol=0.001)


def test_vxp_samples_without_validity_are_dropped(tmp_path: Path) -> None:
    time, amplitude = breathing()
    valid = np.where((time > 20) & (time < 22), -1, 0)
    recording = read_recording(vxp(tmp_path / "a.vxp", time, amplitude, valid))
    assert recording.warnings[0].startswith(f"{int((valid < 0).sum())} of {len(time)} samples are flagged")
    assert recording.warnings[1] == "the trace has 1 gap of more than 0.5 s"
    assert not ((recording.trace.time > 20) & (recording.trace.time < 22)).any()


def test_vxp_of_version_1_5_and_other_layouts(tmp_path: Path) -> None:
    (tmp_path / "a.vxp").write_text(
        "[Header]\nCRC=1\nVersion=1.5\nData_layout=timestamp,amplitude,validflag\n[Data]\n0,1.5,0\n100,1.6,0\n200,1.7,0\n"
    )
    trace = read_trace(tmp_path / "a.vxp")
    assert trace.time.tolist() == [0.0, 0.1, 0.2]
    assert trace.amplitude.tolist() == [1.5, 1.6, 1.7]
    assert trace.phase is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[Header]\nVersion=1.6\n", r"needs a \[Data\] section"),
        ("[Header]\nData_layout=phase,timestamp\n[Data]\n1,2\n", "must name amplitude and timestamp"),
        ("[Header]\nVersion=1.6\n[Data]\n", "only 0 of 0 samples"),
        ("", "is empty"),
        ("hello\nworld\n", "needs a column of time"),
        ("frequency,amplitude\n1,2\n", "needs a column of time"),
        ("time,pressure\n1,2\n", "and one of amplitude"),
        ("time,amplitude\n0,a\n1,b\n2,c\n", "only 0 of 3 samples are usable"),
        ("time,amplitude,phase\n0,1,-1\n1,2,0\n2,3,1\n", "phase column runs from -1 to 1"),
        ("time,x,y,z\n0,0,0,0\n1,0,0,0\n", "hardly ever seen"),
    ],
)
def test_files_that_are_no_trace(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ReadError, match=words):
        read_trace(tmp_path / "a.csv")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        read_trace(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "text",
    [
        "time,amplitude\n0,1\n0.1,2\n0.2,3\n",
        "t;signal\n0;1\n0,1;2\n0,2;3\n",
        "time_ms\tAmplitude\n0\t1\n100\t2\n200\t3\n",
        "Timestamp,amp\n0,1\n100,2\n200,3\n",
        "0,1\n0.1,2\n0.2,3\n",
        "time amplitude\n0 1\n0.1 2\n0.2 3\n",
        '"time_s","position"\n"0","1"\n"0.1","2"\n"0.2","3"\n',
        "\ufeff# a comment\ntime,amplitude,note\n0,1,x\n0.1,2,y\n0.2,3\n",
    ],
)
def test_dialects_of_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    recording = read_recording(tmp_path / "a.csv")
    assert recording.trace.time.tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert recording.trace.amplitude.tolist() == [1.0, 2.0, 3.0]
    assert recording.warnings == ()


def test_a_time_that_can_only_be_ms(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,amplitude\n0,1\n100,2\n200,3\n")
    recording = read_recording(tmp_path / "a.csv")
    assert recording.trace.duration == pytest.approx(0.2)
    assert recording.warnings == ("the column time steps by 100: taken as milliseconds",)


@pytest.mark.parametrize(("column", "scale"), [("phase", 1.0), ("phase_percent", 100.0), ("phase_rad", 2 * np.pi)])
def test_a_phase_column_in_any_unit(tmp_path: Path, column: str, scale: float) -> None:
    time, amplitude = breathing(20)
    fraction = (time / PERIOD) % 1
    rows = "".join(f"{t},{a},{f * scale}\n" for t, a, f in zip(time, amplitude, fraction, strict=True))
    (tmp_path / "a.csv").write_text(f"time,amplitude,{column}\n{rows}")
    phase = read_trace(tmp_path / "a.csv").phase
    assert phase is not None
    assert np.allclose(phase, fraction)


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (0.0, -0.6, 0.8), (0.8, 0.0, -0.6)])
def test_a_marker_moves_along_its_principal_axis(tmp_path: Path, axis: tuple[float, float, float]) -> None:
    time, amplitude = breathing()
    drift = np.outer(time, [0.1, 0.0, 0.0])  # 6 mm of posture over a minute
    positions = np.array([-490.0, 4.0, 64.0]) + np.outer(amplitude, axis) + drift
    trace = read_trace(marker_csv(tmp_path / "m.csv", time, positions))
    # inhale is up whichever way the axis points, because breathing dwells at end-exhale
    assert np.corrcoef(trace.amplitude, amplitude + drift @ axis)[0, 1] > 0.999
    assert np.ptp(trace.amplitude) == pytest.approx(np.ptp(amplitude + drift @ axis), rel=0.06)


# --- faults


def test_faults_of_a_marker_recording(tmp_path: Path) -> None:
    time, amplitude = breathing()
    positions = np.array([-490.0, 4.0, 64.0]) + np.outer(amplitude, [0.0, 0.0, 1.0])
    path = marker_csv(tmp_path / "m.csv", time, positions)
    lines = path.read_text().splitlines()
    lines[101] = "600;20,2;-490,0;4,0;64,1"  # a time stamp that lost its place
    lines[201] = "1200;20000;-490,0;4,0;264,0"  # a spike
    lines.append("0;0;0;0;0")  # what the recorder writes at the end
    path.write_text("\n".join(lines))
    recording = read_recording(path)
    assert recording.warnings == (
        "1 of 601 samples hold no number (drop-outs) and were dropped",
        "1 of 601 samples are out of the order of time and were dropped",
        "1 of 601 samples are spikes and were dropped",
    )
    assert len(recording.trace.time) == len(time) - 2
    assert np.ptp(recording.trace.amplitude) < 12


def test_too_many_faults_are_an_error(tmp_path: Path) -> None:
    rows = "".join(f"{i / 10},{np.sin(i) if i % 3 else ''}\n" for i in range(300))
    (tmp_path / "a.csv").write_text(f"time,amplitude\n{rows}")
    with pytest.raises(ReadError, match=r"only 200 of 300 samples are usable .*hold no number.*record the trace again"):
        read_trace(tmp_path / "a.csv")


def test_deep_breaths_are_no_spikes(tmp_path: Path) -> None:
    time, amplitude = breathing()
    amplitude[(time > 30) & (time < 34)] *= 4
    (tmp_path / "a.csv").write_text(
        "time,amplitude\n" + "".join(f"{t},{a}\n" for t, a in zip(time, amplitude, strict=True))
    )
    assert read_recording(tmp_path / "a.csv").warnings == ()


# --- cycles


def test_cycles_of_a_known_waveform() -> None:
    trace = BreathingTrace(*breathing(rate=25.0))
    found = cycles(trace, 10)
    assert found.shape == (13, 10)  # 60 s of 4 s, less the cut ends
    expected = np.cos(np.pi * np.arange(10) / 10) ** 4
    # a Gaussian of 0.12 s rounds the peak: a few hundredths of the amplitude
    assert np.abs(found - expected).max() < 0.05


def test_cycles_are_closed_and_scaled() -> None:
    time, amplitude = breathing(rate=25.0)
    found = cycles(BreathingTrace(time, amplitude + 0.2 * time), 20)  # drifts by 0.8 mm a cycle
    assert np.allclose(found.max(axis=1), 1)
    assert np.allclose(found.min(axis=1), 0)
    assert found.shape[0] >= 12
    assert np.abs(found[:, 1] - found[:, -1]).max() < 0.05  # even about the peak, as without the drift


def test_unscaled_cycles_are_in_the_unit_of_the_trace() -> None:
    found = cycles(BreathingTrace(*breathing(rate=25.0)), 10, scaled=False)
    assert found[:, 0] == pytest.approx(np.zeros(len(found)), abs=1e-9)
    assert found[:, 5] == pytest.approx(np.full(len(found), -10.0), abs=0.5)


def test_cycles_do_not_depend_on_the_rate_of_sampling() -> None:
    slow, fast = (cycles(BreathingTrace(*breathing(rate=r))) for r in (8.0, 60.0))
    assert np.abs(slow.mean(axis=0) - fast.mean(axis=0)).max() < 0.02


def test_no_cycle_is_cut_over_a_gap() -> None:
    time, amplitude = breathing()
    whole = cycles(BreathingTrace(time, amplitude))
    keep = (time < 29.5) | (time > 30.5)
    assert len(cycles(BreathingTrace(time[keep], amplitude[keep]))) == len(whole) - 1


def test_odd_cycles_are_left_out() -> None:
    time, amplitude = breathing(120)
    whole = cycles(BreathingTrace(time, amplitude))
    amplitude[(time > 58) & (time < 62)] *= 6  # a sigh
    found = cycles(BreathingTrace(time, amplitude))
    assert len(whole) - 3 <= len(found) < len(whole)
    # the cycles that stay are the ordinary ones
    assert np.abs(found - whole.mean(axis=0)).max() < 0.1


@pytest.mark.parametrize("amplitude", [np.zeros(300), np.linspace(0, 1, 300)])
def test_no_breathing_has_no_cycles(amplitude: Array) -> None:
    assert cycles(BreathingTrace(np.arange(300) / 10, amplitude)).shape == (0, 10)


def test_a_very_short_trace_has_no_cycles() -> None:
    assert cycles(BreathingTrace(np.array([0.0, 1.0]), np.array([0.0, 1.0])), 12).shape == (0, 12)


def test_too_few_bins() -> None:
    with pytest.raises(PhaseError, match="at least 4 bins"):
        cycles(BreathingTrace(*breathing()), 3)


@pytest.mark.data
def test_recordings_of_volunteers(real_data: Path) -> None:
    files = sorted((real_data / "breathing_traces").glob("*.csv"))
    assert len(files) == 27
    found = {f.name: cycles(read_trace(f)) for f in files}
    every = np.concatenate(list(found.values()))
    assert len(every) > 600
    # free breathing has cycles; the recording marked O is another manoeuvre with breaths of some 20 s
    assert all(len(c) >= 5 for name, c in found.items() if "-O-" not in name)
    assert all(len(c) == 0 for name, c in found.items() if "-O-" in name)
    # inhale is up: the cycles start at their largest value and dwell at the lower half
    assert (every.argmax(axis=1) == 0).mean() > 0.98
    assert all(np.median(c) < 0.5 for c in found.values() if len(c))
    mean = every.mean(axis=0)
    assert 4 <= int(mean.argmin()) <= 7
