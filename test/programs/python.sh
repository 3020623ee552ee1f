#!/usr/bin/env bash
# python3: containers, cycles for its own collector, json, re, threads, subprocess, decimal, zlib,
# sqlite; once with its own small-object allocator and once with every object from malloc.
. "$(dirname "$0")/lib.sh"
need=(python3)
opts=stress=16,checkmark=1,clobber=1

job() {
    cat >job.py <<'PY'
import collections, concurrent.futures, ctypes, decimal, gc, hashlib, json, os, queue, re
import sqlite3, subprocess, sys, threading, weakref, zlib

def tree(depth):
    return {"l": tree(depth - 1), "m": tree(depth - 1), "r": [depth] * depth} if depth else None

text = json.dumps(tree(9), sort_keys=True)
print(len(text), json.loads(text) == tree(9), hashlib.sha256(text.encode()).hexdigest())

words = re.findall(r"[a-z]+\d+", " ".join(f"word{i % 97}" for i in range(3000)))
print(collections.Counter(words).most_common(5))
print(re.sub(r"(\w)(\d+)", lambda m: m[2] + m[1], "a1 b22 c333 " * 5))

class Node:
    pass

alive = []
for i in range(2000):
    a, b = Node(), Node()
    a.other, b.other, a.payload = b, a, bytearray(200)
    if i % 100 == 0:
        alive.append(weakref.ref(a))
del a, b
gc.collect()
print("weak references left:", sum(r() is not None for r in alive))

jobs, done = queue.Queue(), queue.Queue()
def work():
    while (n := jobs.get()) is not None:
        done.put((n, sum(len(str(k)) for k in range(n)), zlib.crc32(bytes(range(256)) * n)))
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads:
    t.start()
for n in range(200):
    jobs.put(n)
for _ in threads:
    jobs.put(None)
for t in threads:
    t.join()
print(hashlib.sha256(repr(sorted(done.queue)).encode()).hexdigest())

with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda n: len(zlib.compress(b"abc" * n)), range(300))))

print(subprocess.run([sys.executable, "-c", "import sys; print(sum(map(int, sys.stdin)))"],
                     input="\n".join(map(str, range(1000))), text=True, capture_output=True))

class Longest:
    def __init__(self):
        self.best = ""
    def step(self, value):
        self.best = max(self.best, value, key=lambda v: (len(v), v))
    def finalize(self):
        return self.best

db = sqlite3.connect("file.db", check_same_thread=False)
db.create_function("backwards", 1, lambda s: s[::-1])
db.create_aggregate("longest", 1, Longest)
db.create_collation("odd", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
db.execute("create table t(a integer primary key, b text, c blob)")
with db:
    db.executemany("insert into t(b, c) values (?, zeroblob(?))",
                   ((f"row {i * 7919 % 1000}", i % 100) for i in range(2000)))
try:
    with db:
        db.execute("delete from t")
        db.execute("insert into absent values (1)")
except sqlite3.OperationalError as e:
    print(e)
print(db.execute("select count(*), count(distinct b), min(b), max(b), longest(b) from t")
      .fetchall())
print(db.execute("select backwards(b) from t order by b collate odd limit 4").fetchall())
with db.blobopen("t", "c", 77) as blob:
    blob.write(b"x" * 10)
copy = sqlite3.connect(":memory:")
db.backup(copy, pages=5)
print(hashlib.sha256("".join(copy.iterdump()).encode()).hexdigest())
def remainder_sum(n):
    return db.execute("select sum(a) from t where a % 7 = ?", (n,)).fetchone()
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    print(list(pool.map(remainder_sum, range(7))))
os.remove("file.db")

decimal.getcontext().prec = 200
print(decimal.Decimal(2).sqrt())
print(pow(3, 5000) % 10**40, len(str(pow(7, 4000))))

int_p = ctypes.POINTER(ctypes.c_int)
callback = ctypes.CFUNCTYPE(ctypes.c_int, int_p, int_p)
numbers = (ctypes.c_int * 300)(*[i * 7919 % 1000 for i in range(300)])
ctypes.CDLL(None).qsort(numbers, 300, 4, callback(lambda a, b: a[0] - b[0]))
print(list(numbers) == sorted(numbers), numbers[5])

try:
    raise ValueError("at the end")
finally:
    sys.stdout.flush()
PY
    under python3 job.py || :
    PYTHONMALLOC=malloc under python3 job.py || :
}

program_run "$@"
