#!/usr/bin/env bash
# nginx with two workers: wrk for two seconds, then fixed requests: files, gzip, ranges, a proxy to
# itself, errors, a reload in between.
. "$(dirname "$0")/lib.sh"
need=(nginx wrk perl procps)

job() {
    local port proxy i old
    port=$(port_free)
    proxy=$(port_free)
    mkdir -p site logs
    for i in $(seq 1 20); do lines_make $((i * 40)) >"site/file$i.txt"; done
    cat >conf <<C
daemon off;
worker_processes 2;
user nobody nogroup;
pid $WORK/pid;
error_log $WORK/logs/error.log warn;
events { worker_connections 256; }
http {
    access_log $WORK/logs/access.log;
    client_body_temp_path $WORK/tmp/b; proxy_temp_path $WORK/tmp/p; fastcgi_temp_path $WORK/tmp/f;
    uwsgi_temp_path $WORK/tmp/u; scgi_temp_path $WORK/tmp/s;
    gzip on; gzip_types text/plain; gzip_min_length 100;
    server {
        listen 127.0.0.1:$port;
        root $WORK/site;
        location /proxy/ { proxy_pass http://127.0.0.1:$proxy/; proxy_buffers 4 4k; }
        location ~ ^/r/(.*)\$ { return 301 /\$1; }
        location /made { default_type text/plain; return 200 "made \$args\n"; }
    }
    server { listen 127.0.0.1:$proxy; root $WORK/site; autoindex on; }
}
C
    cat >get.pl <<'PL'
use HTTP::Tiny; use Digest::SHA qw(sha256_hex);
my ($port) = @ARGV;
my $http = HTTP::Tiny->new(max_redirect => 0, timeout => 200);
sub get { my ($path, %h) = @_;
    my $r = $http->get("http://127.0.0.1:$port$path", { headers => \%h });
    my $c = $r->{content};
    printf "%s %s %s %d\n", $path, $r->{status}, $h{'Accept-Encoding'} // sha256_hex($c), length $c;
}
for my $i (1 .. 20) {
    get("/file$i.txt"); get("/file$i.txt", 'Accept-Encoding' => 'gzip');
    get("/file$i.txt", Range => "bytes=100-" . 200 * $i); get("/proxy/file$i.txt");
    get("/made?x=$i" . "y" x ($i * 50));
}
get("/none"); get("/r/file1.txt"); get("/../etc"); get("/" . "a" x 9000);
PL
    chmod -R a+rX .
    chmod 777 logs
    server_start nginx -p "$WORK" -e "$WORK/logs/error.log" -c "$WORK/conf"
    server_await perl -MHTTP::Tiny \
        -e "exit !HTTP::Tiny->new->get('http://127.0.0.1:$port/made')->{success}"
    wrk -t2 -c16 -d1s "http://127.0.0.1:$port/file3.txt" >wrk1
    wrk -t2 -c16 -d1s -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/proxy/file9.txt" >wrk2
    cat wrk1 wrk2 | grep -E 'Non-2xx|Socket errors' || :
    awk '/requests in/ { print "answered", ($1 > 10) }' wrk1 wrk2
    perl get.pl "$port"
    # an old worker that leaves resets a connection that just brought it a request
    old=$(pgrep -P "$SERVER")
    kill -HUP "$SERVER"
    for i in $old; do
        while kill -0 "$i" 2>/dev/null; do sleep 0.02; done
    done
    perl get.pl "$port" | cksum
    server_stop QUIT
    grep -vE '\[notice\]' logs/error.log | sed -E 's/^[0-9/: ]+ //' |
        grep -E '\[(alert|emerg|crit)\]' || :
}

program_run "$@"
