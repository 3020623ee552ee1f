#!/usr/bin/env bash
# node: JSON, closures, promises, buffers, worker threads, zlib and crypto on the thread pool, child
# processes, a local HTTP server, an uncaught error's status.
. "$(dirname "$0")/lib.sh"
need=(nodejs)
opts=stress=32,checkmark=1,clobber=1

job() {
    cat >job.js <<'JS'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib');
const util = require('util'), http = require('http');
const { execFileSync } = require('child_process');
const sha = x => crypto.createHash('sha256').update(x).digest('hex');
const tree = d => d ? { l: tree(d - 1), r: tree(d - 1), s: 'x'.repeat(d) } : null;
if (!isMainThread) {
    const m = new Map();
    for (let i = 0; i < 20000; i++) m.set('k' + i % 1000, { i, b: Buffer.alloc(50, i % 256) });
    parentPort.postMessage({ n: workerData, size: m.size, hash: sha(JSON.stringify(tree(8))) });
} else (async () => {
    const text = JSON.stringify(tree(10));
    console.log(text.length, sha(text), util.isDeepStrictEqual(JSON.parse(text), tree(10)));
    const count = {};
    for (let i = 0; i < 20000; i++) {
        const w = 'w' + i * 7919 % 311;
        count[w] = (count[w] || 0) + 1;
    }
    const sorted = Object.entries(count).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    console.log(sorted.slice(0, 5));
    let buffers = [];
    for (let i = 0; i < 3000; i++) buffers.push(Buffer.alloc(i % 5000, i % 251));
    console.log(sha(Buffer.concat(buffers)));
    buffers = null;
    const workers = [1, 2, 3].map(n => new Promise((ok, no) => {
        const w = new Worker(__filename, { workerData: n });
        w.on('message', ok); w.on('error', no);
    }));
    console.log(await Promise.all(workers));
    const deflate = util.promisify(zlib.gzip), inflate = util.promisify(zlib.gunzip);
    const zipped = await Promise.all(
        Array.from({ length: 20 }, (_, i) => deflate('hello'.repeat(i * 500))));
    console.log((await Promise.all(zipped.map(z => inflate(z)))).map(b => b.length).join());
    console.log((await util.promisify(crypto.scrypt)('secret', 'salt', 32)).toString('hex'));
    console.log(execFileSync(process.execPath, ['-p', '6 * 7']).toString().trim());
    const server = http.createServer((q, r) => r.end(q.url.repeat(100)));
    await new Promise(ok => server.listen(0, '127.0.0.1', ok));
    const where = { port: server.address().port, host: '127.0.0.1', agent: false };
    const get = path => new Promise((ok, no) => http.get({ ...where, path }, r => {
        let s = ''; r.on('data', d => s += d); r.on('end', () => ok(s.length));
    }).on('error', no));
    console.log(await Promise.all(Array.from({ length: 50 }, (_, i) => get('/' + 'p'.repeat(i)))));
    server.close();
    console.log((3n ** 2000n).toString().length,
        new RegExp('(\\w)(\\d+)', 'g')[Symbol.replace]('a1 b22', '$2$1'));
    process.on('exit', c => console.log('leaving', c));
    process.exitCode = 5;
})();
JS
    under node job.js || :
}

program_run "$@"
