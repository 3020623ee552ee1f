"""Writes the inputs of the real programs into the folder named on the command line.

Everything comes from a fixed seed: the same bytes on every machine. A file that is there already is
kept, so a change here needs `make clean`.
"""
import json
import os
import random
import sys


def words_make(rng, count):
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    return ["".join(rng.choices(letters, k=rng.randint(3, 10))) for _ in range(count)]


def json_make(rng):
    """Records of mixed types and depths, as an export of a web service has them."""
    words = words_make(rng, 2000)
    records = []
    for number in range(80000):
        records.append({
            "id": number,
            "name": " ".join(rng.choices(words, k=2)),
            "group": rng.choice(words[:50]),
            "score": rng.randint(0, 10**6) / 100,
            "tags": rng.choices(words, k=rng.randint(0, 8)),
            "place": {"street": rng.choice(words), "number": rng.randint(1, 300), "at": None},
            "active": rng.random() < 0.7,
        })
    return json.dumps(records)


def c_function(rng, number):
    """One function with loops, branches, a switch and calls to its predecessors."""
    lines = [f"static long f{number}(long a, long b, struct item *t)", "{", "    long r = a;"]
    for step in range(rng.randint(4, 10)):
        kind = rng.randint(0, 4)
        k = rng.randint(2, 99)
        if kind == 0:
            lines.append(f"    for (long i = 0; i < (b & {k}); i++)")
            lines.append(f"        r += t[i & 63].x * {k} ^ (r >> {step + 1});")
        elif kind == 1:
            lines.append(f"    if (r % {k} > b % {k + 1})")
            lines.append(f"        t[r & 63].y = r * {k};")
            lines.append("    else")
            lines.append(f"        r -= t[b & 63].y + {k};")
        elif kind == 2:
            lines.append("    switch (r & 7) {")
            lines.append(f"    case 0: r += {k}; break;")
            lines.append("    case 3: r ^= b; break;")
            lines.append(f"    case 5: t[{k % 64}].x--; break;")
            lines.append(f"    default: r = r * {k} + b; }}")
        elif kind == 3 and number > 0:
            callee = rng.randint(max(0, number - 20), number - 1)
            lines.append(f"    r += f{callee}(r & {k}, b >> 1, t);")
        else:
            lines.append(f"    t[{k % 64}].d = t[{k % 64}].d * {k}.5 + (double)r;")
    return "\n".join(lines + ["    return r;", "}", ""])


def c_make(rng):
    head = "struct item { long x, y; double d; };\n"
    count = 180
    body = "\n".join(c_function(rng, number) for number in range(count))
    calls = "\n".join(f"    r += f{number}(r, a, t);" for number in range(count))
    last = f"long all(long a, struct item *t)\n{{\n    long r = 0;\n{calls}\n    return r;\n}}\n"
    return f"{head}\n{body}\n{last}"


def ps_make(rng):
    """Pages of text in several sizes, curves, fills, clipping, and dictionaries."""
    words = words_make(rng, 500)
    out = ["%!PS-Adobe-3.0"]
    for page in range(50):
        size = rng.randint(7, 12)
        out.append(f"/{rng.choice(['Times-Roman', 'Helvetica', 'Courier'])} findfont {size} "
                   "scalefont setfont 0 setgray")
        for y in range(780, 40, -(size + 2)):
            line = " ".join(rng.choices(words, k=12))
            out.append(f"40 {y} moveto ({line}) show")
        for _ in range(200):
            points = " ".join(str(rng.randint(0, 600)) for _ in range(6))
            out.append(f"{rng.random():.2f} {rng.random():.2f} {rng.random():.2f} setrgbcolor "
                       f"newpath {rng.randint(0, 600)} {rng.randint(0, 800)} moveto "
                       f"{points} curveto {rng.choice(['stroke', 'closepath fill'])}")
        for _ in range(100):
            x, y = rng.randint(0, 500), rng.randint(0, 700)
            out.append(f"gsave newpath {x} {y} 60 0 360 arc clip "
                       f"{x} {y} moveto 80 40 rlineto stroke grestore")
        out.append("0 1 3000 { 20 dict begin /k exch def /s 40 string def k s cvs pop end } for")
        out.append("showpage")
    return "\n".join(out) + "\n"


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    makers = {"records.json": json_make, "big.c": c_make, "pages.ps": ps_make}
    for name, make in makers.items():
        path = os.path.join(folder, name)
        if os.path.exists(path):
            continue
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(make(random.Random(name)))
        os.rename(path + ".new", path)


if __name__ == "__main__":
    main()
