#!/usr/bin/env bash
# java: javac on a small program, the program with threads, streams, big numbers, native buffers and
# zip, under the serial and the G1 collector; an uncaught exception.
. "$(dirname "$0")/lib.sh"
need=(openjdk-17-jdk-headless)
opts=stress=64,checkmark=1,clobber=1
limit=600

job() {
    cat >Main.java <<'JAVA'
import java.io.*;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;

public class Main {
    record Pair(String k, int v) {}

    static Map<String, Object> tree(int d) {
        if (d == 0) return Map.of();
        return new TreeMap<>(Map.of("l", tree(d - 1), "r", tree(d - 1), "s", "x".repeat(d)));
    }

    public static void main(String[] args) throws Exception {
        Map<String, Integer> count = new TreeMap<>();
        for (int i = 0; i < 50000; i++) count.merge("word" + i * 7919 % 311, 1, Integer::sum);
        System.out.println(count.hashCode() + " " + tree(8).hashCode());
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Long>> futures = new ArrayList<>();
        for (int t = 0; t < 20; t++) {
            final int n = t;
            futures.add(pool.submit(() -> {
                ByteBuffer[] b = new ByteBuffer[50];
                CRC32 crc = new CRC32();
                for (int i = 0; i < 500; i++) {
                    ByteBuffer x = ByteBuffer.allocateDirect(100 + i);
                    x.put(0, (byte) n);
                    b[i % 50] = x;
                    crc.update(x);
                }
                return crc.getValue();
            }));
        }
        for (Future<Long> f : futures) System.out.print(f.get() + " ");
        System.out.println();
        pool.shutdown();
        for (int i = 0; i < 20; i++) { Thread t = new Thread(() -> tree(6)); t.start(); t.join(); }
        Map<String, Integer> sums = IntStream.range(0, 10000).parallel()
            .mapToObj(i -> new Pair("k" + i % 7, i))
            .collect(Collectors.groupingBy(Pair::k, TreeMap::new, Collectors.summingInt(Pair::v)));
        System.out.println(sums);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream z = new GZIPOutputStream(out)) {
            z.write("hello ".repeat(20000).getBytes());
        }
        InputStream in = new GZIPInputStream(new ByteArrayInputStream(out.toByteArray()));
        System.out.println(in.readAllBytes().length);
        System.out.println(BigInteger.TWO.pow(2000).toString().hashCode());
        Process p = new ProcessBuilder("echo", "from a process").redirectErrorStream(true).start();
        System.out.print(new String(p.getInputStream().readAllBytes()));
        System.out.println(p.waitFor());
        System.gc();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("leaving")));
        throw new IllegalStateException("at the end");
    }
}
JAVA
    under javac -J-Xmx96m -J-XX:TieredStopAtLevel=1 Main.java
    under java -Xmx64m -XX:+UseSerialGC -XX:-UsePerfData Main || :
    under java -Xmx64m -XX:+UseG1GC -XX:-UsePerfData Main || :
}

program_run "$@"
