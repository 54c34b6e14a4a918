"""The picture of the growth: four panels, one line for each operation."""
import re
import statistics

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import scenes

#: Text stays text; ids do not change from drawing to drawing.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "htfs", "font.family": "sans-serif", "font.size": 8,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 7}
#: Told apart without colours by their markers.
MARKS = "osD^v"


def draw(results, path):
    """Cost in relation to that at the smallest size: time, with bars from the lowest to the highest run,
    and processor time."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        for axes, scene in zip(figure.subplots(2, 2).flat, scenes.SCENES):
            panel(axes, scene, [point for point in results["points"] if point["scene"] == scene])
        figure.suptitle("Cost of one operation, in relation to the first size; flat is the ideal. Solid: time, dotted: "
                        f"processor time of htfs.\n{results['machine']}, data on {results['disk']}, {results['date']}",
                        fontsize=8)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    slim(path)


def slim(path):
    """Two decimals are enough for a place on the screen, and blanks at the ends of lines are too many."""
    with open(path) as file:
        text = re.sub(r"(\d\.\d\d)\d+", r"\1", file.read())
    with open(path, "w") as file:
        file.writelines(line.strip() + "\n" for line in text.splitlines())


def panel(axes, scene, points):
    sizes = sorted({point["x"] for point in points})
    axes.axhline(1, color="0.6", linewidth=1, linestyle="--", zorder=0)
    for mark, what in zip(MARKS, dict.fromkeys(point["what"] for point in points)):
        row = [point for point in points if point["what"] == what]
        runs = [[point["value"] for point in row if point["x"] == size] for size in sizes]
        middle = [statistics.median(values) for values in runs]
        first = middle[0]
        below = [(at - min(values)) / first for at, values in zip(middle, runs)]
        above = [(max(values) - at) / first for at, values in zip(middle, runs)]
        drawn = axes.errorbar(sizes, [at / first for at in middle], yerr=[below, above], marker=mark, markersize=4,
                      linewidth=1.2, elinewidth=0.8, label=f"{what} (first: {number(first)} {row[0]['unit']})")
        if row[0]["processors"] is not None:
            used = [statistics.median(point["processors"] for point in row if point["x"] == size) for size in sizes]
            axes.plot(sizes, [at / used[0] for at in used], linestyle=":", linewidth=1, color=drawn[0].get_color())
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel(scenes.LABELS[scene])
    # Room above the lines for the legend.
    axes.set_ylim(0, max(2.0, axes.get_ylim()[1]) * 1.45)
    axes.legend(loc="upper left")


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
