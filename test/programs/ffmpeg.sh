#!/usr/bin/env bash
# ffmpeg: test pictures and a tone through filters, encoders with two threads, containers and
# decoders, to checksums; a damaged file.
. "$(dirname "$0")/lib.sh"
need=(ffmpeg)

# Addresses in messages' prefixes.
normal() { sed -E 's/ @ 0x[0-9a-f]+/ @ ADDRESS/'; }

job() {
    local f="under ffmpeg -nostdin -loglevel error -threads 2 -filter_threads 2"
    $f -f lavfi -i testsrc=duration=2:size=160x120:rate=10 -pix_fmt rgb24 -f rawvideo -f md5 -
    $f -f lavfi -i testsrc2=duration=2:size=176x144:rate=12 -f lavfi -i sine=440:duration=2 \
        -vf 'scale=120:96,hflip,eq=contrast=1.2,split[a][b];[a]vflip[c];[b][c]hstack' \
        -c:v mpeg4 -threads 2 -c:a aac -flags +bitexact -fflags +bitexact out.mkv
    $f -i out.mkv -map 0 -f framemd5 -fflags +bitexact - | grep -v '^#software'
    $f -f lavfi -i mandelbrot=size=96x96:rate=5 -frames:v 6 -c:v png -f image2pipe - | md5sum
    $f -f lavfi -i smptebars=duration=1:size=96x64 -c:v libx264 -threads 2 -preset veryfast \
        -flags +bitexact -fflags +bitexact -f mp4 bars.mp4
    $f -i bars.mp4 -f md5 -
    $f -f lavfi -i 'aevalsrc=sin(440*t)|cos(220*t):d=2' -af 'aecho,atempo=1.5' -c:a flac -f md5 -
    under ffprobe -loglevel error -show_streams -of compact out.mkv | cut -c 1-200
    head -c 6000 out.mkv >short.mkv
    $f -i short.mkv -f md5 - || :
    $f -i no-such-file -f null - || :
}

program_run "$@"
