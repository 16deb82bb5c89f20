"""Reports: one self-contained, interactive, offline page for a forecast and for a comparison."""

from rtmotion.report.collect import collect_forecast
from rtmotion.report.comparison import render_comparison_report, write_comparison_report
from rtmotion.report.data import ReportData, load_report_data, save_report_data
from rtmotion.report.forecast_page import render_forecast_report, write_forecast_report
from rtmotion.report.summary_page import write_forecast_summary

__all__ = [
    "ReportData",
    "collect_forecast",
    "load_report_data",
    "render_comparison_report",
    "render_forecast_report",
    "save_report_data",
    "write_comparison_report",
    "write_forecast_report",
    "write_forecast_summary",
]
