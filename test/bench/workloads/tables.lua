-- Tables, closures, string building and binary trees.
local seed = 42
local function roll(n)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return (seed // 65536) % n + 1
end

local function tree(depth)
    if depth == 0 then return { n = 1 } end
    return { left = tree(depth - 1), right = tree(depth - 1), n = depth }
end

local function count(t)
    if not t.left then return 1 end
    return 1 + count(t.left) + count(t.right)
end

local total = 0
for turn = 1, 70 do
    total = total + count(tree(13))
    local map, list = {}, {}
    for i = 1, 20000 do
        local key = "k" .. roll(5000)
        map[key] = (map[key] or "") .. roll(9)
        list[#list + 1] = function() return #key + i end
    end
    for i = 1, #list, 7 do total = total + list[i]() end
    local parts = {}
    for key, value in pairs(map) do parts[#parts + 1] = key .. "=" .. value end
    table.sort(parts)
    total = total + #table.concat(parts, ";"):gsub("k", "")
    print(turn, total)
end
