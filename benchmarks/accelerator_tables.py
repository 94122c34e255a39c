"""What `accelerator.py` found, as Markdown: a section a step, each with what it says in a line and its tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from text_table import table

Results = Sequence[Mapping[str, Any]]


def spread(values: Mapping[str, float] | None) -> str:
    """A median with its extremes."""
    return f"{values['median']:.3g} ({values['min']:.3g}-{values['max']:.3g})" if values else "-"


def render(document: Mapping[str, Any]) -> str:
    """All steps of a document."""
    parts = ["# jaxgan on an accelerator"]
    for name, step in document["steps"].items():
        took = f"{step.get('seconds', 0):.0f} of {step['planned_seconds']:.0f} s"
        parts.append(f"## {name} ({took}): {step['status']}")
        try:
            told = SECTIONS[name](step["results"])
        except Exception as error:  # what was found is worth more than its table
            told = f"The table cannot be made: {error!r}; accelerator.json has all of it."
        parts += filter(None, [told, others(step["results"])])
    return "\n\n".join(parts)


def others(results: Results) -> str:
    """What was left out or failed, and why."""
    lines = []
    for one in results:
        if one["what"] in ("left out", "failed", "not scored", "failures") or "failed" in one:
            rest = ", ".join(f"{key} {value}" for key, value in one.items() if key != "what")
            lines.append(f"- {one['what']}: {rest}")
    return "\n".join(lines)


def pick(results: Results, what: str) -> list[Mapping[str, Any]]:
    return [one for one in results if one["what"] == what and "failed" not in one]


def machine(results: Results) -> str:
    rows: list[list[Any]] = []
    for one in pick(results, "environment"):
        packages = ", ".join(f"{name} {version}" for name, version in one["packages"].items())
        rows += [
            ["devices", ", ".join(one["devices"])],
            ["driver", one["driver"]],
            ["platform", one["platform_version"].replace("\n", ", ")],
            ["processor", f"{one['cores']} cores of {one['cpu']}"],
            ["Python and packages", f"{one['python']}; {packages}"],
            ["commit", one["git_commit"]],
            ["seconds to the first operation", one["seconds_to_first_operation"]],
        ]
    rows += [
        [f"product, {one['precision']}, {one['size']} square, TFLOP/s", one["tflops"]]
        for one in pick(results, "product")
    ]
    rows += [
        ["bandwidth, read and written, GB/s", spread(one["gigabytes_per_second"])]
        for one in pick(results, "bandwidth")
    ]
    return table(["machine", ""], rows) if rows else ""


def bits(results: Results) -> str:
    parts = []
    for one in pick(results, "verdict"):
        asked = "asked for" if one["deterministic"] else "not asked for"
        said = {True: "equal", False: "NOT EQUAL", None: "not known"}[one["equal"]]
        since = one["first_step_that_differs"]
        where = "" if since is None else f", metrics differ from step {since} on"
        parts.append(f"Determinism {asked}: the bits of {one['runs']} runs are {said}{where}.")
    if runs := pick(results, "run"):
        rows = [
            [
                f"{one['name']}{'' if one['deterministic'] else ', not asked for'}",
                one["state_sha256"][:16],
                one["recorded_as_deterministic"],
                one.get("killed_at"),
                one.get("resumed_from"),
                one["seconds"],
            ]
            for one in runs
        ]
        columns = ["run", "state_sha256", "recorded as deterministic", "killed at", "resumed from", "seconds"]
        parts.append(table(columns, rows))
    for one in pick(results, "cost"):
        times = one["ms_per_step"]
        parts.append(
            f"A step of {one['config']} takes {times['on']:.4g} ms with determinism and {times['off']:.4g} ms without: "
            f"{spread(one['times_slower'])} times as long."
        )
    return "\n\n".join(parts)


def tests(results: Results) -> str:
    found = pick(results, "test")
    bad = [one["name"] for one in found if one["outcome"] in ("failed", "error")]
    passed = sum(one["outcome"] == "passed" for one in found)
    return f"{passed} of {len(found)} passed.{' Not: ' + ', '.join(bad) if bad else ''}" if found else ""


def throughput(results: Results) -> str:
    rows = []
    for one in pick(results, "config"):
        rows.append(
            [
                f"{one['config']}, {one['precision']}",
                one["batch_size"],
                spread(one["ms_per_step"]),
                one["images_per_second"],
                one["seconds_per_kimg"],
                one["tflops"],
                f"{one['share_of_product']:.0%}" if one["share_of_product"] else None,
                one["compile_seconds"],
                one["peak_memory_bytes"] / 1e6,
            ]
        )
    columns = [
        "config",
        "batch",
        "ms a step",
        "images/s",
        "s/kimg",
        "TFLOP/s",
        "of product",
        "compile, s",
        "memory, MB",
    ]
    return table(columns, rows) if rows else ""


def torch(results: Results) -> str:
    rows = []
    for one in pick(results, "case"):
        ms = {kind: 1e3 * s["median"] for kind, s in one["seconds_per_step"].items()}
        errors = [max(map(max, peer.values())) for peer in one["proof"].values() if "failed" not in peer]
        rows.append(
            [
                f"{one['case']}, {one['precision']}",
                one["batch_size"],
                ms["jaxgan"],
                ms.get("torch eager"),
                ms.get("torch compile"),
                spread(one["times_faster"][one["fastest_torch"]]),
                f"{max(errors):.0e}",
            ]
        )
    columns = ["case", "batch", "jaxgan, ms", "torch eager, ms", "torch.compile, ms", "times faster", "proof"]
    return table(columns, rows) if rows else ""


def seeds(results: Results) -> str:
    rows = [
        [
            one["config"],
            one["seeds"],
            spread(one["ms_per_step_of_all"]),
            one["seed_steps_per_second"],
            spread(one["times_faster_than_one_after_another"]),
        ]
        for one in pick(results, "seeds")
    ]
    columns = [
        "config",
        "seeds",
        "ms a step of all",
        "steps of a seed/s",
        "times faster than one after another",
    ]
    return table(columns, rows) if rows else ""


def kernels(results: Results) -> str:
    rows = []
    for one in pick(results, "layer"):
        row = [one["layer"]]
        for found in one["passes"].values():
            mine, stock = (found["gflops"][kind]["median"] / 1e3 for kind in ("ours", "stock"))
            row.append(f"{mine:.3g}, {stock:.3g} ({found['times_faster']['median']:.2g})")
        rows.append(row)
    names = ("forward", "input gradient", "weight gradient", "all three")
    return (
        table(["layer, TFLOP/s", *(f"{name}: ours, stock (times faster)" for name in names)], rows)
        if rows
        else ""
    )


def biggan(results: Results) -> str:
    parts = []
    for one in pick(results, "trained"):
        parts.append(
            f"{one['steps']:,} steps in {one['seconds']:.0f} s; pictures: biggan.png, biggan-curves.png."
        )
    rows = [[one["title"], one["value"], one["error"], one["floor"]] for one in pick(results, "score")]
    if rows:
        parts.append(table(["score", "value", "error", "real images"], rows))
    return "\n\n".join(parts)


SECTIONS: Mapping[str, Callable[[Results], str]] = {
    f.__name__: f for f in (machine, bits, tests, throughput, torch, seeds, kernels, biggan)
}
