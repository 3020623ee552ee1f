#!/usr/bin/env python3
"""Compares what two folders' gc headers declare: prototypes.py REFERENCE OURS.

Every function, variable, type, enumerator, field and macro of the reference's must be in ours with
the same type or value. What ours has in addition doesn't matter. Prints a line for each difference;
the last line says how many things were compared. Needs clang, whose parse tree it reads.
"""
import json
import re
import subprocess
import sys

HEADERS = ["gc", "gc_mark", "gc_typed", "gc_disclaim", "gc_inline", "gc_gcj", "javaxfc"]

# Macros that only guard a header, or that only the reference's own machinery uses.
NOT_PUBLIC = re.compile(r"""GC_(\w*_H|GNUC_PREREQ|ATTR_\w+|FAST_M_AO_STORE
                            |PTHREAD_EXIT_ATTRIBUTE)$""", re.X)

# Declared there, but in no library of it.
NOT_EXPORTED = {"GC_print_trace", "GC_print_trace_inner", "GC_win32_free_heap"}

# Code rather than values: same name and parameters, another way of doing it.
CODE = {"GC_FAST_MALLOC_GRANS"}


def compile(folder, *options):
    includes = [part for h in HEADERS for part in ("-include", f"{folder}/gc/{h}.h")]
    return subprocess.run(["clang", "-x", "c", "-std=gnu17", "-DGC_THREADS", "-w", *includes,
                           *options, "/dev/null"], check=True, capture_output=True,
                          text=True).stdout


def declarations(folder):
    found = {}

    def type_of(node):
        return node["type"].get("qualType")

    tree = json.loads(compile(folder, "-fsyntax-only", "-Xclang", "-ast-dump=json"))
    for node in tree["inner"]:
        name, kind = node.get("name", ""), node["kind"]
        if kind == "EnumDecl":
            for index, constant in enumerate(node.get("inner", [])):
                if constant["kind"] == "EnumConstantDecl" and constant["name"].startswith("GC_"):
                    value = json.dumps(constant.get("inner", index))
                    found[constant["name"]] = "enumerator " + re.sub(
                        r'"(id|range|loc)":.*?(?="value"|$)', "", value)
        if not name.startswith("GC_") or name in NOT_EXPORTED:
            continue
        if kind in ("FunctionDecl", "VarDecl"):
            found[name] = f"{kind} {type_of(node)}"
        elif kind == "TypedefDecl":
            found[name] = f"typedef {type_of(node)}"
        elif kind == "RecordDecl":
            fields = [f"{type_of(f)} {f['name']}" for f in node.get("inner", [])
                      if f["kind"] == "FieldDecl"]
            if fields:
                found[f"struct {name}"] = "; ".join(fields)
    return found


def macros(folder, *options):
    found = {}
    for line in compile(folder, "-E", "-dM", *options).splitlines():
        match = re.match(r"#define (\w+)(\([^)]*\))?(?: (.*))?$", line)
        name, parameters, body = match.groups()
        if not name.startswith("GC_") or NOT_PUBLIC.match(name):
            continue
        body = re.sub(r"\s|\\", "", body or "")
        if name in CODE or parameters and "{" in body:
            body = ""
        found[name] = body, parameters
    for name, (body, parameters) in found.items():
        while body in found:  # another name of a constant
            body, parameters = found[body]
        found[name] = body, parameters
    return found


def renamed(body, parameters):
    """A macro's body with its parameters numbered, so that their names don't matter."""
    for index, parameter in enumerate((parameters or "()")[1:-1].replace(" ", "").split(",")):
        if parameter:
            body = re.sub(rf"\b{parameter}\b", f"${index}", body)
    return body


def main():
    reference, ours = sys.argv[1:3]
    differences = 0
    expected, there = declarations(reference), declarations(ours)
    for name, what in sorted(expected.items()):
        if there.get(name) != what:
            differences += 1
            print(f"{name}: {what}, but ours is {there.get(name, 'missing')}")
    count = len(expected)
    for options in [], ["-DGC_DEBUG"]:
        expected, there = macros(reference, *options), macros(ours, *options)
        count += len(expected)
        for name, (body, parameters) in sorted(expected.items()):
            mine = there.get(name)
            if mine is None or renamed(*mine) != renamed(body, parameters):
                differences += 1
                print(f"macro {name}: {body}, but ours is {mine[0] if mine else 'missing'}")
    print(f"{count} compared, {differences} differ")
    return differences != 0 or count < 500


sys.exit(main())
