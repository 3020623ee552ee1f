#!/usr/bin/env bash
# redis-server under redis-benchmark, then a fixed script of commands: every type, Lua, expiry,
# transactions, a background save by fork, an append-only rewrite, a restart from disk, and the
# digest of the whole data set.
. "$(dirname "$0")/lib.sh"
need=(redis-server redis-tools perl)
opts=stress=32,checkmark=1,clobber=1

server() {
    server_start redis-server --port "$port" --bind 127.0.0.1 --dir "$WORK" --save '' \
        --logfile "$WORK/log" --daemonize no --appendonly no --io-threads 2 \
        --enable-debug-command yes --activerehashing yes --hz 50
    server_await redis-cli -p "$port" ping
}

job() {
    local port cli
    port=$(port_free)
    cli="redis-cli -p $port"
    server
    redis-benchmark -q -p "$port" -c 20 -n 2000 -r 500 -d 100 -P 4 \
        -t ping,set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,mset >benchmark.out 2>&1
    tr '\r' '\n' <benchmark.out | grep -c 'requests per second.*p50' || :
    $cli flushall
    {
        for i in $(seq 1 400); do
            echo "set s:$i $(printf 'v%.0s' $(seq 1 $((i % 50 + 1))))"
            echo "append s:$((i % 37)) more$i"
            echo "lpush l:$((i % 11)) $i"
            echo "hset h:$((i % 13)) f$i $i"
            echo "sadd x:$((i % 17)) m$i"
            echo "zadd z:$((i % 5)) $((i * 7919 % 1000)) m$i"
            echo "xadd stream $i-1 f $i"
            echo "pfadd hll e$i"
        done
        echo 'sort l:3 desc limit 0 5'
        echo 'zunionstore zu 3 z:0 z:1 z:2'
        echo 'zrange zu 0 10 withscores'
        echo 'sinterstore xi x:1 x:2'
        echo 'lrange l:4 0 -1'
        echo 'del l:5 h:3'
        echo 'pfcount hll'
        echo 'multi'
        echo 'incr n'
        echo 'incr n'
        echo 'exec'
        echo 'eval "local t = {} for i = 1, 500 do t[i] = redis.call([[incr]], [[n]]) end' \
            'return #t" 0'
        echo 'xrange stream 5 8'
        echo 'geoadd g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania'
        echo 'geodist g Palermo Catania'
        echo 'lpush s:1 wrong'
        echo 'nosuchcommand'
        echo 'debug reload'
        echo 'dbsize'
        echo 'debug digest'
        echo 'config set appendonly yes'
    } | $cli | grep -v '^OK$' | tee script.out | cksum
    tail -n 60 script.out
    # Not before the rewrite that `appendonly yes` began has ended: INFO tells.
    server_await sh -c "$cli info persistence | grep -q aof_rewrite_in_progress:0"
    $cli save
    $cli bgsave
    server_await sh -c "$cli info persistence | grep -q rdb_bgsave_in_progress:0"
    $cli info persistence | tr -d '\r' |
        grep -E '^(rdb_last_bgsave_status|aof_last_bgrewrite_status|rdb_saves)'
    server_stop
    server
    $cli dbsize
    $cli debug digest
    server_stop
    grep -E 'CRASHED|REDIS BUG' log || :
}

program_run "$@"
