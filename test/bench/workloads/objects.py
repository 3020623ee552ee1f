"""Objects, dictionaries, strings and JSON: what a web handler does, over and over."""
import json
import random
import re


class Node:
    __slots__ = ("key", "left", "right", "data")

    def __init__(self, key):
        self.key = key
        self.left = None
        self.right = None
        self.data = {"key": key, "name": f"node-{key}"}


def tree_build(rng, count):
    root = Node(rng.random())
    for _ in range(count):
        at, key = root, rng.random()
        while True:
            side = "left" if key < at.key else "right"
            below = getattr(at, side)
            if below is None:
                setattr(at, side, Node(key))
                break
            at = below
    return root


def text_work(rng):
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 9))) for _ in range(5000)]
    counts = {}
    for word in re.findall(r"[a-d]+|[e-h]+", " ".join(words)):
        counts.setdefault(word, []).append(len(word))
    return sorted((sum(v), k) for k, v in counts.items())[-5:]


def main():
    rng = random.Random(1)
    total = 0
    for turn in range(45):
        root = tree_build(rng, 4000)
        total += len(root.data["name"])
        rows = [{"id": i, "list": list(range(i % 20)), "text": "x" * (i % 200)}
                for i in range(4000)]
        back = json.loads(json.dumps(rows))
        total += sum(len(row["text"]) for row in back)
        print(turn, total, text_work(rng))


main()
