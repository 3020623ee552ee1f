#!/usr/bin/env bash
# lua5.4: tables, strings, closures, coroutines, finalizers, weak tables, both modes of its
# collector, an error with a traceback.
. "$(dirname "$0")/lib.sh"
need=(lua5.4)

job() {
    cat >job.lua <<'LUA'
for _, mode in ipairs { "incremental", "generational" } do
    collectgarbage(mode)
    local count, list = {}, {}
    for i = 1, 20000 do
        local w = "word" .. i * 7919 % 997
        count[w] = (count[w] or 0) + 1
        list[#list + 1] = { i, w, { i } }
    end
    local keys = {}
    for k in pairs(count) do keys[#keys + 1] = k end
    table.sort(keys, function(a, b)
        if count[a] ~= count[b] then return count[a] > count[b] end
        return a < b
    end)
    print(#keys, keys[1], keys[500], #list)
    local function tree(d) return d > 0 and { tree(d - 1), tree(d - 1), ("x"):rep(d) } or {} end
    local function size(t)
        local n = 1
        for _, c in ipairs(t) do if type(c) == "table" then n = n + size(c) end end
        return n
    end
    for _ = 1, 5 do io.write(size(tree(10)), " ") end
    print()
    local ended = 0
    for i = 1, 3000 do setmetatable({ i }, { __gc = function() ended = ended + 1 end }) end
    collectgarbage() collectgarbage()
    print("finalized", ended)
    local weak = setmetatable({}, { __mode = "k" })
    for i = 1, 1000 do weak[{}] = i end
    collectgarbage()
    print("weak", next(weak))
    local producers = {}
    for n = 1, 100 do
        producers[n] = coroutine.wrap(function()
            for i = 1, 20 do coroutine.yield(("c"):rep(n + i)) end
        end)
    end
    local total = 0
    for _ = 1, 20 do for n = 1, 100 do total = total + #producers[n]() end end
    print(total)
    local s = {}
    for i = 1, 5000 do s[i] = ("%d:%s"):format(i, ("k=v "):rep(i % 7)) end
    s = table.concat(s, "\n")
    print(#s, select(2, s:gsub("(%w)=(%w)", "%2=%1")), s:find("4999:"))
    local _, message = pcall(function() local x = nil; return x.y end)
    print(pcall(error, { code = 1 }) == false, message)
end
error("at the end")
LUA
    under lua5.4 job.lua || :
}

program_run "$@"
