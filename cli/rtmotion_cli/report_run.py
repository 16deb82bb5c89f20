"""`rtmotion report`: report.html anew from the files of a run."""

from pathlib import Path

from rtmotion.errors import ReadError
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal


def rebuild_report(folder: Path, terminal: Terminal) -> Path:
    """Builds the report of a forecast's or a comparison's folder again.

    Returns:
        The page.

    Raises:
        ReadError: If the folder holds neither forecast.json nor summary.json, or their files are incomplete.
        WriteError: If the folder cannot be written.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder}: no such folder; give the folder that rtmotion forecast or compare wrote")
    check_output(folder)
    page = folder / "report.html"
    if (folder / "forecast.json").is_file():
        from rtmotion.report import load_report_data, write_forecast_report

        with terminal.progress("building the report"):
            write_forecast_report(page, load_report_data(folder))
    elif (folder / "summary.json").is_file():
        from rtmotion.report import write_comparison_report

        with terminal.progress("building the report"):
            write_comparison_report(folder, page)
    else:
        raise ReadError(
            f"{folder}: neither forecast.json nor summary.json is there; "
            "give the folder that rtmotion forecast or compare wrote"
        )
    return page
