"""What both halves of the benchmark share: the options, the tables, and the list of failures."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.abspath(os.path.join(os.environ["BUILD"], "bench"))
ONLY = set(os.environ.get("BENCH_ONLY", "").replace(",", " ").replace(":", " ").split())

failures = []


def rounds(default):
    return int(os.environ.get("BENCH_ROUNDS", default))


def say(text=""):
    print(text, flush=True)


def row(*cells):
    say("| " + " | ".join(cells) + " |")


def head(*cells):
    say()
    row(*cells)
    row("---", *["--:"] * (len(cells) - 1))


def fail(text):
    """Notes a failure for the end of the report, and says it on stderr, where no table breaks."""
    failures.append(text)
    print(f"bench: failed: {text}", file=sys.stderr)


def section_rows(section, names, sections):
    """The rows of a section that BENCH_ONLY asks for: sections and rows each narrow the choice."""
    chosen = ONLY & set(sections)
    rows = ONLY - chosen
    if chosen and section not in chosen:
        return []
    return [name for name in names if not rows or name in rows]
