"""Draws a stack's dashboard as an SVG: the widgets of the deployed template, with values from the functions' logs.

    AWS_ENDPOINT_URL=http://127.0.0.1:… python infra/local/dashboard.py STACK FILE

CloudWatch turns log lines in its Embedded Metric Format into metrics. The emulator doesn't, so this script does. A
function's duration comes from its REPORT lines, and a queue's depth is read once. Metrics that the emulator lacks stay
empty. CloudWatch's widgets aggregate over minutes and hours; here they use SECONDS, because a local run lasts a minute.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

SECONDS = 2  # the period that one point covers
SEARCH = re.compile(
    r"""SEARCH\('\{(?P<space>[^,}]+),[^}]*\} (?P<where>.*?)MetricName="(?P<name>\w+)"', '(?P<stat>\w+)', \d+\)"""
)
STATISTICS = {"Maximum": max, "Sum": sum}
COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"]
ALARM_COLOUR = "#d13212"
WIDTH, HEIGHT, GAP = 40, 25, 6  # pixels: a grid cell's width and height, and the gap between widgets
STYLE = """text { fill: #1f2328 } .back { fill: #fff; stroke: #d0d7de } .grid { stroke: #d0d7de } .none { fill: #6e7781 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .back { fill: #0d1117; stroke: #3d444d } .grid { stroke: #3d444d } .none { fill: #9198a1 }
}"""

Points = list[tuple[float, float]]  # seconds since the epoch, value


class Metrics:
    """All points by (namespace, name, dimensions)."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, str, frozenset[tuple[str, str]]], Points] = defaultdict(list)

    def add(self, space: str, name: str, dimensions: dict[str, str], at: float, value: float) -> None:
        self.points[space, name, frozenset(dimensions.items())].append((at, value))

    def read_line(self, function: str, at: float, line: str) -> None:
        if report := re.match(r"REPORT .*\tDuration: ([\d.]+) ms", line):
            self.add("AWS/Lambda", "Duration", {"FunctionName": function}, at, float(report[1]))
        if '"_aws"' not in line:
            return
        values = json.loads(line)
        at = values["_aws"]["Timestamp"] / 1000
        for directive in values["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = {name: values[name] for name in names}
                for metric in directive["Metrics"]:
                    self.add(directive["Namespace"], metric["Name"], dimensions, at, values[metric["Name"]])

    def series(self, entry: list[Any], several: bool) -> list[tuple[str, Points]]:
        """Returns the labels and points for one entry in a widget's `metrics`."""
        if not isinstance(entry[0], dict):
            *path, options = entry
            space, name, *pairs = path
            key = (space, name, frozenset(zip(pairs[::2], pairs[1::2], strict=True)))
            return [(options["label"], summed(self.points.get(key, []), options["stat"]))]
        search = SEARCH.fullmatch(entry[0]["expression"])
        if not search:
            raise ValueError(f"unsupported expression: {entry[0]['expression']}")
        where = frozenset(re.findall(r'(\w+)="([^"]*)"', search["where"]))
        found = []
        for (space, name, dimensions), points in sorted(self.points.items(), key=lambda item: sorted(item[0][2])):
            rest = dict(dimensions - where)
            if (space, name) == (search["space"], search["name"]) and where < dimensions and rest.keys() == {"Dataset"}:
                label = f"{rest['Dataset']} {name}" if several else rest["Dataset"]
                found.append((label, summed(points, search["stat"])))
        return found

    def state(self, alarm: dict[str, Any]) -> str:
        """Returns the alarm's state after its last period."""
        dimensions = frozenset((each["Name"], each["Value"]) for each in alarm["Dimensions"])
        points = self.points.get((alarm["Namespace"], alarm["MetricName"], dimensions), [])
        end = max((at for known in self.points.values() for at, _ in known), default=0)
        values = [value for at, value in points if at > end - alarm["Period"]]
        if not values:
            return "OK"  # TreatMissingData: notBreaching
        return "ALARM" if STATISTICS[alarm["Statistic"]](values) > alarm["Threshold"] else "OK"


def summed(points: Points, stat: str) -> Points:
    slots = defaultdict(list)
    for at, value in points:
        slots[at // SECONDS * SECONDS].append(value)
    return [(at, STATISTICS[stat](values)) for at, values in sorted(slots.items())]


class Picture:
    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        known = [at for points in metrics.points.values() for at, _ in points]
        self.start, self.end = min(known) // SECONDS * SECONDS, max(known)
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, anchor: str = "start", more: str = "") -> None:
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{more}>{escape(words)}</text>')

    def frame(self, widget: dict[str, Any]) -> tuple[float, float, float, float]:
        x, y = widget["x"] * WIDTH + GAP / 2, widget["y"] * HEIGHT + GAP / 2
        width, height = widget["width"] * WIDTH - GAP, widget["height"] * HEIGHT - GAP
        self.parts.append(f'<rect class="back" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"/>')
        self.text(x + 10, y + 18, widget["properties"]["title"], more=' font-weight="bold"')
        return x + 10, y, width - 20, height

    def alarms(self, widget: dict[str, Any], states: dict[str, str]) -> None:
        x, y, width, _ = self.frame(widget)
        names = [arn.rsplit(":", 1)[-1] for arn in widget["properties"]["alarms"]]
        for at, name in enumerate(names):
            left, top = x + at % 5 * width / 5, y + 28 + at // 5 * 20
            colour = ALARM_COLOUR if states[name] == "ALARM" else COLOURS[2]
            self.parts.append(f'<rect x="{left:g}" y="{top:g}" width="10" height="10" rx="2" fill="{colour}"/>')
            short = next((part for part in name.split("-") if part.endswith("Alarm")), name).removesuffix("Alarm")
            self.text(left + 15, top + 9, f"{short}: {states[name]}")

    def graph(self, widget: dict[str, Any]) -> None:
        x, y, width, height = self.frame(widget)
        entries = widget["properties"]["metrics"]
        several = sum("expression" in str(entry) for entry in entries) > 1
        shown = [(label, points) for entry in entries for label, points in self.metrics.series(entry, several)]
        shown = [(label, points) for label, points in shown if points]
        if not shown:
            self.text(x + width / 2, y + height / 2 + 8, "no data", "middle", ' class="none"')
            return
        columns = 2 if len("".join(label for label, _ in shown)) * 7 > width else len(shown)
        bottom = y + height - 21 - 13 * -(-len(shown) // columns)
        top, left, right = y + 34, x + 58, x + width - 8
        highest = nice(max(value for _, points in shown for _, value in points))

        def place(at: float, value: float) -> str:
            across = (at - self.start) / max(self.end - self.start, 1)
            return f"{left + across * (right - left):.1f},{bottom - value / highest * (bottom - top):.1f}"

        for part in (0, 0.5, 1):
            level = bottom - part * (bottom - top)
            self.parts.append(f'<path class="grid" d="M{left:g} {level:g}H{right:g}"/>')
            self.text(left - 5, level + 4, f"{part * highest:,g}", "end")
        self.text(left, bottom + 13, "0 s")
        self.text(right, bottom + 13, f"{self.end - self.start:.0f} s", "end")
        for note in widget["properties"].get("annotations", {}).get("horizontal", []):
            if note["value"] <= highest:
                at = bottom - note["value"] / highest * (bottom - top)
                self.parts.append(f'<path stroke="{ALARM_COLOUR}" d="M{left:g} {at:g}H{right:g}"/>')
            self.text(right, top - 5, f"{note['label']}: {note['value']:,}", "end", f' style="fill: {ALARM_COLOUR}"')
        for at, (label, points) in enumerate(shown):
            colour = COLOURS[at % len(COLOURS)]
            spots = [place(*point) for point in points]
            self.parts.append(f'<polyline fill="none" stroke="{colour}" points="{" ".join(spots)}"/>')
            for spot in spots:
                cx, cy = spot.split(",")
                self.parts.append(f'<circle cx="{cx}" cy="{cy}" r="2.5" fill="{colour}"/>')
            across, down = at % columns * width / columns, at // columns * 13
            legend, middle = x + across, bottom + 26 + down
            self.parts.append(f'<rect x="{legend:g}" y="{middle - 8:g}" width="8" height="8" fill="{colour}"/>')
            self.text(legend + 12, middle, label)

    def svg(self, widgets: list[dict[str, Any]]) -> str:
        across = max(widget["x"] + widget["width"] for widget in widgets) * WIDTH
        down = max(widget["y"] + widget["height"] for widget in widgets) * HEIGHT
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}"'
        head += ' font-family="Helvetica, Arial, sans-serif" font-size="11">'
        return "\n".join([head, f"<style>{STYLE}</style>", *self.parts, "</svg>", ""])


def nice(value: float) -> float:
    """Returns the smallest number of the form 1, 2 or 5 times a power of ten that is at least `value`."""
    if value <= 0:
        return 1
    step = 10.0 ** math.floor(math.log10(value))
    return next(step * times for times in (1, 2, 5, 10) if step * times >= value)


def read(session: Any, stack: str) -> tuple[list[dict[str, Any]], Metrics, dict[str, str]]:
    cloudwatch, logs, sqs = (session.client(name) for name in ("cloudwatch", "logs", "sqs"))
    widgets = json.loads(cloudwatch.get_dashboard(DashboardName=stack)["DashboardBody"])["widgets"]
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    metrics = Metrics()
    for function in ("export", "flip", "optout", "sweep"):
        name = f"{stack}-{function}"
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}"):
            for event in page["events"]:
                metrics.read_line(name, event["timestamp"] / 1000, event["message"])
    now = max((at for points in metrics.points.values() for at, _ in points), default=0)
    for alarm in alarms:
        if alarm["Namespace"] == "AWS/SQS":
            queue = alarm["Dimensions"][0]["Value"]
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            depth = float(answer["Attributes"]["ApproximateNumberOfMessages"])
            metrics.add("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": queue}, now, depth)
    return widgets, metrics, {alarm["AlarmName"]: metrics.state(alarm) for alarm in alarms}


def draw(widgets: list[dict[str, Any]], metrics: Metrics, states: dict[str, str]) -> str:
    picture = Picture(metrics)
    for widget in widgets:
        if widget["type"] == "alarm":
            picture.alarms(widget, states)
        else:
            picture.graph(widget)
    return picture.svg(widgets)


def main(stack: str, file: str) -> None:
    import boto3

    Path(file).write_text(draw(*read(boto3.Session(), stack)))


if __name__ == "__main__":
    main(*sys.argv[1:])
