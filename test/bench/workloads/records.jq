# Filters without ltrimstr and the like, which lose memory in jq 1.6: this row is about allocation.
[.[] | select(.active)
 | {id, group, n: (.tags | length), where: "\(.place.street) \(.place.number)"}]
| group_by(.group)
| map({group: .[0].group, count: length, tags: (map(.n) | add),
       last: (sort_by(.where) | last | .where)})
| sort_by(-.count, .group)
