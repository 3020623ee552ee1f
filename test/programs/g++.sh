#!/usr/bin/env bash
# g++: templates of the standard library at -O2, the assembly compared; the program made, with
# containers, exceptions, threads and futures, runs under the library too; diagnostics of a faulty
# file.
. "$(dirname "$0")/lib.sh"
need=(g++)
opts=stress=64,checkmark=1,clobber=1

job() {
    cat >job.cc <<'CC'
#include <algorithm>
#include <future>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct Node {
    std::unique_ptr<Node> left, right;
    std::string name;
};
static std::unique_ptr<Node> tree(int d) {
    if (d == 0)
        return nullptr;
    return std::unique_ptr<Node>(new Node{tree(d - 1), tree(d - 1), std::string(d * 5, 'x')});
}
static size_t size(const Node *n) {
    return n ? n->name.size() + size(n->left.get()) + size(n->right.get()) : 0;
}
static int failing(int n) {
    std::vector<std::string> v(n, "unwound");
    if (n % 3 == 0)
        throw std::runtime_error("no " + std::to_string(n));
    return n;
}
int main() {
    std::map<std::string, std::vector<int>> m;
    std::unordered_map<int, std::string> u;
    for (int i = 0; i < 20000; i++) {
        m["key" + std::to_string(i * 7919 % 500)].push_back(i);
        u[i] = std::to_string(i);
    }
    std::cout << m.size() << ' ' << m.begin()->second.size() << ' ' << u.at(777) << '\n';
    for (int i = 0; i < 5; i++)
        std::cout << size(tree(12).get()) << '\n';
    int caught = 0;
    for (int i = 0; i < 300; i++)
        try {
            failing(i);
        } catch (const std::exception &) {
            caught++;
        }
    std::cout << "caught " << caught << '\n';
    std::vector<std::future<long>> f;
    for (int t = 0; t < 4; t++)
        f.push_back(std::async(std::launch::async, [t] {
            std::list<std::shared_ptr<long>> l;
            for (long i = 0; i < 20000; i++) {
                l.push_back(std::make_shared<long>(i * t));
                if (l.size() > 100)
                    l.pop_front();
            }
            return std::accumulate(l.begin(), l.end(), 0L,
                                   [](long a, const std::shared_ptr<long> &p) { return a + *p; });
        }));
    for (auto &x : f)
        std::cout << x.get() << '\n';
    struct alignas(64) Line {
        char c[64];
    };
    std::vector<std::unique_ptr<Line>> lines;
    for (int i = 0; i < 100; i++)
        lines.emplace_back(new Line);
    std::cout << std::all_of(lines.begin(), lines.end(), [](auto &p) {
        return reinterpret_cast<uintptr_t>(p.get()) % 64 == 0;
    }) << '\n';
}
CC
    under g++ -std=c++17 -O2 -S job.cc -o job.s
    cksum <job.s
    under g++ -pthread job.s -o job
    under ./job
    printf '%s\n' '#include <vector>' \
        'int main() { std::vector<int> v; v.push_back("text"); return w; }' >wrong.cc
    under g++ -c wrong.cc || :
}

program_run "$@"
