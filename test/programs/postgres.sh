#!/usr/bin/env bash
# postgres: initdb, a server, pgbench from four clients, fixed queries with sorts, hashes, plpgsql,
# parallel workers and errors, a dump, and an orderly stop; all under another user than root.
. "$(dirname "$0")/lib.sh"
need=(postgresql-15 postgresql-client-15)
opts=stress=32,checkmark=1,clobber=1
limit=900

job() {
    local bin=/usr/lib/postgresql/15/bin as=()
    chmod 777 "$WORK"
    # The server refuses to run as root.
    [ "$(id -u)" != 0 ] || as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    if [ -n "$JOB_LIB" ]; then
        cp "$JOB_LIB" "$WORK/tmp/$(basename "$JOB_LIB")"
        chmod 755 "$WORK/tmp/$(basename "$JOB_LIB")"
        JOB_LIB=$WORK/tmp/$(basename "$JOB_LIB")
    fi
    export PGHOST=$WORK PGUSER=postgres PGDATABASE=postgres PGDATA=$WORK/data
    under "${as[@]}" "$bin/initdb" -A trust -U postgres -N --no-locale -E UTF8 >initdb.out
    grep -vE '^ |selecting' initdb.out
    server_start "${as[@]}" "$bin/postgres" -k "$WORK" -c listen_addresses= -c fsync=off \
        -c shared_buffers=8MB -c logging_collector=off -c log_min_messages=warning \
        -c log_min_error_statement=panic -c max_connections=20 2>server.log
    server_await psql -c 'select 1'
    under "$bin/pgbench" -i -s 1 -q 2>/dev/null
    under "$bin/pgbench" -c 4 -j 2 -t 40 --random-seed=7 2>/dev/null |
        grep -E '^(number of|transaction type)'
    under "$bin/pgbench" -c 4 -j 2 -t 40 -n -S -M prepared --random-seed=7 2>/dev/null |
        grep '^number of trans'
    cat >job.sql <<'SQL'
select count(*), sum(delta) from pgbench_history;
select sum(abalance), count(*) from pgbench_accounts;
create table t as select i, 'key' || i % 97 as k, md5(i::text) as h
    from generate_series(1, 20000) i;
create index on t(k);
analyze t;
set work_mem = '64kB';
select k, count(*), min(h), max(h) from t group by k order by k limit 5;
select count(*) from (select * from t order by h, k offset 0) s;
select count(*) from t a join t b on a.k = b.k and a.i = b.i + 97;
set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
select sum(length(h)), count(distinct k) from t;
select count(*) from t where h like 'a%';
select string_agg(k, ',' order by k)
    from (select distinct k from t limit 400) s where k like 'key1%';
select jsonb_object_agg(k, c) from (select k, count(*) c from t group by k order by k limit 4) s;
select regexp_replace('a1 b22 c333', '([a-z])(\d+)', '\2\1', 'g');
create function f(n int) returns bigint language plpgsql as $$
declare s bigint := 0; a text[] := '{}';
begin
    for i in 1..n loop a := a || md5(i::text); s := s + length(a[i]); end loop;
    begin perform 1 / 0; exception when division_by_zero then s := s + 1; end;
    return s;
end $$;
select f(500), f(600);
with recursive r(n, x) as
    (select 1, 1::numeric union all select n + 1, x * (n + 1) from r where n < 100)
select max(x) from r;
begin; delete from t where i % 2 = 0; rollback;
delete from t where i % 3 = 0; vacuum t;
select count(*) from t;
select 1 / 0;
select * from nothing;
SQL
    under psql -X -A -t -f job.sql
    under "$bin/pg_dump" -t t | grep -v '^--' | sed '/^\\/d' | cksum
    server_stop INT
    # A server process that crashed, and lines that aren't the server's own.
    grep -oE 'terminated by signal [0-9]+|PANIC: .*' server.log || :
    grep -vE '^[0-9]{4}-|^\s' server.log || :
}

program_run "$@"
