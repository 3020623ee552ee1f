#!/usr/bin/env bash
# sqlite3: tables, indexes, transactions, triggers, views, window functions, recursion, full-text
# search, json, an in-memory and a file database, integrity check, dump, errors.
. "$(dirname "$0")/lib.sh"
need=(sqlite3)

job() {
    cat >job.sql <<'SQL'
create table t(id integer primary key, k text, v real, b blob);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)
insert into t select i, 'key' || (i * 7919 % 500), i / 7.0, zeroblob(i % 60) from n;
create index t_k on t(k);
create table log(what text, id integer);
create trigger t_del after delete on t begin insert into log values ('deleted', old.id); end;
create view per_key as select k, count(*) c, sum(v) s from t group by k;
begin; delete from t where id % 11 = 0; update t set v = v * 2 where k like 'key1%'; commit;
begin; delete from t; rollback;
select count(*), round(sum(v), 3), sum(length(b)) from t;
select count(*) from log;
select k, c, round(s, 3) from per_key order by c desc, k limit 10;
select k, v, rank() over (partition by k order by v desc) from t
    where k in ('key7', 'key8') order by 1, 2 limit 12;
select a.k, count(*) from t a join t b on a.k = b.k and a.id < b.id
    group by a.k order by 2 desc, 1 limit 5;
create virtual table f using fts5(body);
insert into f select 'the quick ' || k || ' jumps over ' || id from t where id <= 600;
select count(*) from f where f match 'quick AND key7*';
select snippet(f, 0, '[', ']', '...', 5) from f where f match 'key77' limit 3;
select json_group_array(json_object('k', k, 'c', c))
    from (select * from per_key order by k limit 5);
select group_concat(value) from (select value from json_each('[1,2,[3,4],{"a":5}]'));
with recursive q(x, y) as
    (select 1, 1 union all select y, x + y from q where y < 1000000000000)
select max(x) from q;
create table w(k text primary key, v) without rowid;
insert or replace into w select k, id from t;
vacuum; analyze; pragma integrity_check;
select sum(length(sql)) from sqlite_master;
select printf('%.3f %s %d', avg(v), max(k), count(distinct k)) from t;
select * from no_such_table;
insert into w values ('key1', 0);
SQL
    under sqlite3 -cmd '.mode list' :memory: <job.sql || :
    under sqlite3 file.db <job.sql || :
    under sqlite3 file.db .dump | cksum
    under sqlite3 -json file.db 'select id, k, v from t order by id limit 5'
    under sqlite3 -readonly -header -column file.db 'pragma cache_size = 20;
        select k, count(*) from t group by k order by 2 desc, 1 limit 4;
        pragma quick_check'
    under sqlite3 file.db 'pragma journal_mode = wal;
        delete from t where id > 100;
        select count(*) from t'
}

program_run "$@"
