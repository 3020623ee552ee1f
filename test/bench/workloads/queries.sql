-- An in-memory database: bulk insert, indexes, joins, grouping, text functions, updates, deletes.
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city INTEGER, score REAL);
CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE visit(person INTEGER, city INTEGER, day INTEGER, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
  INSERT INTO city SELECT i, printf('city-%04d', i * 7919 % 1000) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
  INSERT INTO person SELECT i, printf('person-%d-%s', i * 7919 % 100003, hex(i)), i % 500 + 1,
    i * 31 % 997 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
  INSERT INTO visit SELECT i * 7919 % 120000 + 1, i % 500 + 1, i % 365,
    printf('note %d %s', i, hex(i * 17)) FROM n;
CREATE INDEX person_city ON person(city);
CREATE INDEX visit_person ON visit(person, day);
SELECT c.name, count(*), round(avg(p.score), 3) FROM person p JOIN city c ON c.id = p.city
  GROUP BY c.name ORDER BY 2 DESC, 1 LIMIT 20;
SELECT p.name, count(*), max(v.day) FROM visit v JOIN person p ON p.id = v.person
  WHERE v.note LIKE '%7%' GROUP BY p.id ORDER BY 2 DESC, 1 LIMIT 20;
SELECT length(group_concat(upper(substr(name, 3)) || score, ';')) FROM person;
UPDATE person SET name = replace(name, 'person', 'p') || '-' || city WHERE id % 3 = 0;
DELETE FROM visit WHERE day % 5 = 0;
SELECT json_group_array(json_object('n', name, 's', score)) ->> '$[17].n' FROM person;
SELECT count(DISTINCT note), sum(length(note)) FROM visit;
SELECT name FROM
  (SELECT name, row_number() OVER (PARTITION BY city ORDER BY score DESC, id) r FROM person)
  WHERE r = 1 ORDER BY name LIMIT 10;
