#!/usr/bin/env bash
# w3m: a page of nested tables, lists and forms, laid out as text in two widths, and its headers.
. "$(dirname "$0")/lib.sh"
need=(w3m)
client=/usr/bin/w3m

job() {
    awk 'BEGIN {
        print "<html><head><title>T&auml;bles</title></head><body><h1>A page</h1>"
        for (t = 0; t < 30; t++) {
            print "<table border=1><caption>Table " t "</caption><tr><th colspan=2>h<th>g</tr>"
            for (i = 0; i < 40; i++)
                printf "<tr><td>%d</td><td>word%d <a href=x%d.html>link</a> &eacute;&#8364;</td>" \
                       "<td><table border><tr><td>in</td><td>%x</td></tr></table></td></tr>\n",
                       i, (i * 7919) % 997, i, i * i
            print "</table><ul><li>a<li>b<ol><li>c</ol></ul><pre>pre  formatted</pre><form>" \
                  "<input type=text value=v><select><option>one<option selected>two</select></form>"
        }
        print "</body></html>"
    }' >page.html
    under w3m -dump -T text/html -cols 120 page.html
    under w3m -dump -T text/html -cols 40 page.html | sha256sum
    under w3m -dump_extra page.html | sha256sum
    under w3m -dump_source page.html | sha256sum
}

program_run "$@"
